#!/usr/bin/env bash
# The steps of action.yml. Everything comes from the environment: nothing is pasted into this script.
# Usage: github.sh install | review | comment | conclude | apply
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../code-review/common.sh
. "$here/../code-review/common.sh"

WORK=$RUNNER_TEMP/pigment-sync
CONFIG=${PIGMENT_SYNC_CONFIG_FILE:-config.yaml}
NAME=${PIGMENT_SYNC_NAME:-pigment-sync}
API=$GITHUB_API_URL/repos/$GITHUB_REPOSITORY
HEADER="Authorization: Bearer ${PIGMENT_SYNC_GITHUB_TOKEN:-}"
MARK="<!-- pigment-sync plan: ${NAME//[^A-Za-z0-9._-]/_} -->"
COMMENT_AUTHOR=${PIGMENT_SYNC_COMMENT_AUTHOR:-github-actions[bot]}
COMMENT_RIGHT="Give the job the permission pull-requests: write."
APPLY_RIGHT="Give the job the permissions contents: read, pull-requests: read and actions: read."
mkdir -p "$WORK"

announce_error() {
  local text=${1//'%'/%25}
  text=${text//$'\r'/%0D}
  printf '::error title=pigment-sync::%s\n' "${text//$'\n'/%0A}"
}

event() {
  jq -r "$1" "$GITHUB_EVENT_PATH"
}

set_output() {
  printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}

# A pull request from a fork, or of Dependabot, runs without secrets and with a token that only reads.
gets_no_secrets() {
  [[ $(event '.pull_request.head.repo.full_name // "deleted"') != "$GITHUB_REPOSITORY" || $GITHUB_ACTOR == 'dependabot[bot]' ]]
}

artifact_name() {
  printf 'pigment-sync-plan-%s-%s' "${NAME//[^A-Za-z0-9._-]/_}" "$1"
}

require_pull_request() {
  if [[ $GITHUB_EVENT_NAME == pull_request_target ]]; then
    fail 2 "The event pull_request_target would give secrets to pull requests from forks." "Use the event pull_request."
  fi
  if [[ $GITHUB_EVENT_NAME != pull_request ]]; then
    fail 2 "The mode review needs the event pull_request, not $GITHUB_EVENT_NAME." "See docs/code-review.md."
  fi
}

review() {
  require_pull_request
  local head
  head=$(event .pull_request.head.sha)
  rm -f "$WORK"/{check.txt,plan.json,plan.md,comment.md}
  DIGEST=
  check_configuration
  if [[ $CODE == 0 ]] && ! gets_no_secrets; then
    make_plan
  fi
  write_comment "$MARK" "Commit ${head:0:12} · [job]($GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID)"
  cat "$WORK/comment.md" >>"$GITHUB_STEP_SUMMARY"
  if [[ -n $DIGEST ]] && is_reviewable; then
    set_output plan "$WORK/plan.json"
    set_output artifact "$(artifact_name "$head")"
  fi
  set_output digest "$DIGEST"
  set_output exit-code "$CODE"
}

comment() {
  require_pull_request
  if gets_no_secrets; then
    echo "No comment: the token of this pull request only reads. The job summary has the result."
    return
  fi
  local number id
  number=$(event .pull_request.number)
  request_list "$API/issues/$number/comments?sort=created" "$WORK/comments.json" "$COMMENT_RIGHT"
  # Anyone may write the mark into a comment, so the author counts too.
  id=$(jq -r --arg mark "$MARK" --arg author "$COMMENT_AUTHOR" \
    'first(.[] | select(.user.login == $author and (.body | startswith($mark))) | .id) // ""' "$WORK/comments.json")
  jq --raw-input --slurp '{body: .}' "$WORK/comment.md" >"$WORK/body.json"
  if [[ -n $id ]]; then
    request PATCH "$API/issues/comments/$id" "$WORK/body.json" "$COMMENT_RIGHT"
  else
    request POST "$API/issues/$number/comments" "$WORK/body.json" "$COMMENT_RIGHT"
  fi
  echo "Comment: $(jq -r .html_url "$WORK/answer.json")"
}

# Fails the job where there is nothing to approve. After the comment, so that the reviewer learns why.
conclude() {
  CODE=$PIGMENT_SYNC_EXIT_CODE
  if ! is_reviewable; then
    fail "$CODE" "$(plan_meaning "$CODE")" "The job summary has the details."
  fi
  plan_meaning "$CODE"
}

# Sets NUMBER, HEAD, AUTHOR and URL of the pull request whose merge made this commit.
find_pull_request() {
  request GET "$API/commits/$GITHUB_SHA/pulls?per_page=100" "" "$APPLY_RIGHT"
  jq --arg sha "$GITHUB_SHA" --arg branch "$GITHUB_REF_NAME" \
    'first(.[] | select(.merged_at and .merge_commit_sha == $sha and .base.ref == $branch))' \
    "$WORK/answer.json" >"$WORK/pull.json"
  if [[ ! -s $WORK/pull.json ]]; then
    fail 2 "No merged pull request made the commit $GITHUB_SHA, so no plan was approved. Nothing was written." \
      "Change the configuration by a pull request."
  fi
  NUMBER=$(jq -r .number "$WORK/pull.json")
  HEAD=$(jq -r .head.sha "$WORK/pull.json")
  AUTHOR=$(jq -r .user.login "$WORK/pull.json")
  URL=$(jq -r .html_url "$WORK/pull.json")
}

# Sets APPROVERS and APPROVED_AT: who approved the last commit of the pull request, and when the last of them did.
find_approval() {
  request_list "$API/pulls/$NUMBER/reviews" "$WORK/reviews.json" "$APPLY_RIGHT"
  # A comment leaves an earlier decision of the same person as it was. People without a role in the repository may
  # review too, and do not count.
  jq --arg head "$HEAD" --arg author "$AUTHOR" '
    [.[] | select(.state == "APPROVED" or .state == "CHANGES_REQUESTED" or .state == "DISMISSED")]
    | group_by(.user.login) | map(max_by(.submitted_at))
    | map(select(.state == "APPROVED" and .commit_id == $head and .user.login != $author
        and (.author_association == "OWNER" or .author_association == "MEMBER" or .author_association == "COLLABORATOR")))
    | sort_by(.submitted_at)' "$WORK/reviews.json" >"$WORK/approvals.json"
  if [[ $(jq length "$WORK/approvals.json") == 0 ]]; then
    fail 4 "No one but its author approved the last commit of pull request $NUMBER. Nothing was written." \
      "Open a new pull request and have it approved, or apply by hand."
  fi
  APPROVERS=$(jq -r 'map(.user.login) | join(", ")' "$WORK/approvals.json")
  APPROVER=$(jq -r 'last.user.login' "$WORK/approvals.json")
  APPROVED_AT=$(jq -r 'last.submitted_at' "$WORK/approvals.json")
}

# Fetches the plan that the approver saw: the last one that was kept for this commit before the approval.
fetch_plan() {
  local name id
  name=$(artifact_name "$HEAD")
  request_list "$API/actions/artifacts?name=$name" "$WORK/artifacts.json" "$APPLY_RIGHT"
  id=$(jq -r --arg name "$name" --arg head "$HEAD" --arg at "$APPROVED_AT" '
    [.[] | select(.name == $name and (.expired | not) and .workflow_run.head_sha == $head
      and .workflow_run.head_repository_id == .workflow_run.repository_id and .created_at <= $at)]
    | sort_by(.created_at) | last.id // ""' "$WORK/artifacts.json")
  if [[ -z $id ]]; then
    fail 9 "There is no plan for $HEAD from before its approval at $APPROVED_AT. Nothing was written." \
      "Open a new pull request and approve it once its plan is there."
  fi
  request GET "$API/actions/artifacts/$id/zip" "" "$APPLY_RIGHT"
  rm -rf "$WORK/approved"
  python3 -m zipfile -e "$WORK/answer.json" "$WORK/approved"
  cp "$WORK/approved/plan.json" "$WORK/plan.json"
}

apply() {
  if [[ $GITHUB_EVENT_NAME != push ]]; then
    fail 2 "The mode apply needs the event push, not $GITHUB_EVENT_NAME." "See docs/code-review.md."
  fi
  find_pull_request
  find_approval
  fetch_plan
  echo "Applying $(jq -r .digest "$WORK/plan.json"), approved by $APPROVERS in $URL"
  apply_plan "$APPROVER" "pull request $NUMBER, approved by $APPROVERS: $URL"
  applied_report >>"$GITHUB_STEP_SUMMARY"
  set_output digest "$(jq -r .digest "$WORK/plan.json")"
  set_output exit-code "$CODE"
  if [[ $CODE != 0 ]]; then
    fail "$CODE" "$(apply_meaning "$CODE")" "The job summary has the details."
  fi
  apply_meaning 0
}

install() {
  if [[ $PIGMENT_SYNC_MODE != review && $PIGMENT_SYNC_MODE != apply ]]; then
    fail 2 "The mode is review or apply, not ${PIGMENT_SYNC_MODE@Q}." "See docs/code-review.md."
  fi
  install_agent
}

case ${1:-} in
  install) install ;;
  review) review ;;
  comment) comment ;;
  conclude) conclude ;;
  apply) apply ;;
  *)
    echo "usage: github.sh install | review | comment | conclude | apply" >&2
    exit 2
    ;;
esac
