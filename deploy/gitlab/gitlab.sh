#!/usr/bin/env bash
# The jobs of pigment-sync.gitlab-ci.yml. Everything comes from the environment.
# Usage: gitlab.sh review | apply
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../code-review/common.sh
. "$here/../code-review/common.sh"

# In the project, because artefacts are paths in it.
WORK=$CI_PROJECT_DIR/pigment-sync-plan
CONFIG=${PIGMENT_SYNC_CONFIG_FILE:-config.yaml}
API=$CI_API_V4_URL/projects/$CI_PROJECT_ID
# Not PRIVATE-TOKEN: curl would hand that on to the store of artefacts, to which GitLab redirects.
HEADER="Authorization: Bearer ${PIGMENT_SYNC_GITLAB_TOKEN:-}"
MARK="<!-- pigment-sync plan: ${CONFIG//[^A-Za-z0-9._-]/_} -->"
RIGHT="Set PIGMENT_SYNC_GITLAB_TOKEN to a project access token with the scope api and the role Reporter or higher."
REVIEW_JOB=${PIGMENT_SYNC_REVIEW_JOB:-pigment-sync-review}
mkdir -p "$WORK"

announce_error() {
  printf 'pigment-sync: %s\n' "$1" >&2
}

# A merge request from a fork never gets a plan, even if a member of this project starts its pipeline here.
gets_no_secrets() {
  [[ $CI_MERGE_REQUEST_SOURCE_PROJECT_ID != "$CI_MERGE_REQUEST_PROJECT_ID" ]]
}

require_token() {
  if [[ -z ${PIGMENT_SYNC_GITLAB_TOKEN:-} ]]; then
    fail 2 "PIGMENT_SYNC_GITLAB_TOKEN is not set for this job." "$RIGHT"
  fi
}

review() {
  rm -f "$WORK"/{check.txt,plan.json,plan.md,comment.md}
  DIGEST=
  # In a pipeline of the merged result, CI_COMMIT_SHA is a commit that the branch does not have.
  printf '%s\n' "${CI_MERGE_REQUEST_SOURCE_BRANCH_SHA:-$CI_COMMIT_SHA}" >"$WORK/commit.txt"
  check_configuration
  if [[ $CODE == 0 ]] && ! gets_no_secrets; then
    make_plan
  fi
  write_comment "$MARK" "Commit $(head -c 12 "$WORK/commit.txt") · [job]($CI_JOB_URL)"
  if gets_no_secrets; then
    cat "$WORK/check.txt"
    echo "No plan and no note: this merge request comes from a fork."
  else
    comment
  fi
  if ! is_reviewable; then
    # A plan that can't be approved is not kept as one.
    rm -f "$WORK/plan.json"
    fail "$CODE" "$(plan_meaning "$CODE")" "The note and the artefacts have the details."
  fi
  plan_meaning "$CODE"
}

comment() {
  require_token
  local notes id me
  notes=$API/merge_requests/$CI_MERGE_REQUEST_IID/notes
  request GET "$CI_API_V4_URL/user" "" "$RIGHT"
  me=$(jq -r .id "$WORK/answer.json")
  request_list "$notes?sort=asc&order_by=created_at" "$WORK/notes.json" "$RIGHT"
  # Anyone may write the mark into a note, so the author counts too.
  id=$(jq -r --arg mark "$MARK" --argjson author "$me" \
    'first(.[] | select(.author.id == $author and (.body | startswith($mark))) | .id) // ""' "$WORK/notes.json")
  jq --raw-input --slurp '{body: .}' "$WORK/comment.md" >"$WORK/body.json"
  if [[ -n $id ]]; then
    request PUT "$notes/$id" "$WORK/body.json" "$RIGHT"
  else
    request POST "$notes" "$WORK/body.json" "$RIGHT"
  fi
}

# Sets IID, HEAD, AUTHOR and URL of the merge request that made this commit.
find_merge_request() {
  request GET "$API/repository/commits/$CI_COMMIT_SHA/merge_requests?per_page=100" "" "$RIGHT"
  jq --arg sha "$CI_COMMIT_SHA" --arg branch "$CI_COMMIT_BRANCH" 'first(.[] | select(.state == "merged"
      and .target_branch == $branch and .source_project_id == .target_project_id
      and (.merge_commit_sha == $sha or .squash_commit_sha == $sha or .sha == $sha)))' \
    "$WORK/answer.json" >"$WORK/merge.json"
  if [[ ! -s $WORK/merge.json ]]; then
    fail 2 "No merge request of this project made the commit $CI_COMMIT_SHA, so no plan was approved. Nothing was written." \
      "Change the configuration by a merge request."
  fi
  IID=$(jq -r .iid "$WORK/merge.json")
  HEAD=$(jq -r .sha "$WORK/merge.json")
  AUTHOR=$(jq -r .author.username "$WORK/merge.json")
  URL=$(jq -r .web_url "$WORK/merge.json")
}

# Sets APPROVERS and APPROVED_AT. GitLab's list of approvals has no times everywhere; its own notes have.
find_approval() {
  request_list "$API/merge_requests/$IID/notes?sort=asc&order_by=created_at" "$WORK/notes.json" "$RIGHT"
  request GET "$API/merge_requests/$IID/approvals" "" "$RIGHT"
  jq --arg author "$AUTHOR" --slurpfile given "$WORK/answer.json" '
    ($given[0].approved_by | map(.user.username)) as $now
    | [.[] | select(.system and .body == "approved this merge request" and .author.username != $author
        and (.author.username as $name | $now | index($name)))]
    | group_by(.author.username) | map(max_by(.created_at)) | sort_by(.created_at)' \
    "$WORK/notes.json" >"$WORK/approvals.json"
  if [[ $(jq length "$WORK/approvals.json") == 0 ]]; then
    fail 4 "No one but its author approved merge request $IID. Nothing was written." \
      "Open a new merge request and have it approved, or apply by hand."
  fi
  APPROVERS=$(jq -r 'map(.author.username) | join(", ")' "$WORK/approvals.json")
  APPROVER=$(jq -r 'last.author.username' "$WORK/approvals.json")
  APPROVED_AT=$(jq -r 'last.created_at' "$WORK/approvals.json")
}

# Fetches the plan that the approver saw: of the last review job that ended before the approval. Its commit must be the
# last one of the merge request.
fetch_plan() {
  local pipeline job
  request_list "$API/merge_requests/$IID/pipelines" "$WORK/pipelines.json" "$RIGHT"
  echo '[]' >"$WORK/jobs.json"
  for pipeline in $(jq -r 'sort_by(-.id) | .[0:20] | .[].id' "$WORK/pipelines.json"); do
    request GET "$API/pipelines/$pipeline/jobs?include_retried=true&per_page=100" "" "$RIGHT"
    jq -s 'add' "$WORK/jobs.json" "$WORK/answer.json" >"$WORK/list.json"
    mv "$WORK/list.json" "$WORK/jobs.json"
  done
  # Times of one server, in one form: their order is that of their texts.
  job=$(jq -r --arg name "$REVIEW_JOB" --arg at "$APPROVED_AT" '
    [.[] | select(.name == $name and .finished_at != null and .finished_at <= $at)]
    | sort_by(.finished_at) | last | select(.status == "success") | .id // ""' "$WORK/jobs.json")
  if [[ -n $job ]]; then
    request GET "$API/jobs/$job/artifacts/pigment-sync-plan/commit.txt" "" "$RIGHT"
    cp "$WORK/answer.json" "$WORK/commit.txt"
  fi
  if [[ -z $job || $(<"$WORK/commit.txt") != "$HEAD" ]]; then
    fail 9 "There is no plan for $HEAD from before its approval at $APPROVED_AT. Nothing was written." \
      "Open a new merge request and approve it once its plan is there."
  fi
  request GET "$API/jobs/$job/artifacts/pigment-sync-plan/plan.json" "" "$RIGHT"
  cp "$WORK/answer.json" "$WORK/plan.json"
}

apply() {
  if [[ $CI_PIPELINE_SOURCE != push || $CI_COMMIT_REF_PROTECTED != true || $CI_COMMIT_BRANCH != "$CI_DEFAULT_BRANCH" ]]; then
    fail 2 "A plan is applied only by a push to the default branch, which must be protected." \
      "Protect $CI_DEFAULT_BRANCH in Settings > Repository."
  fi
  require_token
  find_merge_request
  find_approval
  fetch_plan
  echo "Applying $(jq -r .digest "$WORK/plan.json"), approved by $APPROVERS in $URL"
  apply_plan "$APPROVER" "merge request $IID, approved by $APPROVERS: $URL"
  applied_report >"$WORK/report.md"
  if [[ $CODE != 0 ]]; then
    fail "$CODE" "$(apply_meaning "$CODE")" "The artefact report.md has the details."
  fi
  apply_meaning 0
}

case ${1:-} in
  review)
    install_agent
    review
    ;;
  apply)
    install_agent
    apply
    ;;
  *)
    echo "usage: gitlab.sh review | apply" >&2
    exit 2
    ;;
esac
