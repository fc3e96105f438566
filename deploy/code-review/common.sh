# shellcheck shell=bash
# What the GitHub Action and the GitLab template share. Sourced by github.sh and gitlab.sh, which define
# `announce_error TEXT` and set, before they call a function of this file:
#   WORK     a folder of this job, for the plan, the comment and the answers of the server
#   CONFIG   the configuration file
# Set by the caller's workflow, all optional: PIGMENT_SYNC_WORKSPACES and PIGMENT_SYNC_GUARDS (names between blanks),
# PIGMENT_SYNC_EXECUTABLE (an installed command, in place of an own installation).

COMMENT_LIMIT=65000 # characters; GitHub refuses more than 65,536
AGENT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Ends the script with exit code $1; $2 says what failed and why, $3 the next step.
fail() {
  announce_error "$2 $3"
  exit "$1"
}

# Installs the agent of this very commit, with the packages that its locks name by their hashes.
install_agent() {
  if [[ -n ${PIGMENT_SYNC_EXECUTABLE:-} ]]; then
    return
  fi
  local venv=$WORK/venv
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes \
    -r "$AGENT_ROOT/requirements.lock" -r "$AGENT_ROOT/build.lock"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation "$AGENT_ROOT"
}

agent() {
  "${PIGMENT_SYNC_EXECUTABLE:-$WORK/venv/bin/pigment-sync}" --config "$CONFIG" "$@"
}

# Prints an option and a value for each word of $2.
each_with_option() {
  local word
  for word in $2; do
    printf '%s\n%s\n' "$1" "$word"
  done
}

# Checks the configuration without a connection. Sets CODE; check.txt holds what was found.
check_configuration() {
  CODE=0
  agent check --offline >"$WORK/check.txt" 2>&1 || CODE=$?
}

# Makes the plan: plan.json for `apply`, plan.md for people. Sets CODE as `plan --exit-code` does, and DIGEST.
make_plan() {
  local options=()
  mapfile -t options < <(each_with_option --workspace "${PIGMENT_SYNC_WORKSPACES:-}")
  CODE=0 DIGEST=
  agent plan --exit-code --out "$WORK/plan.json" --format markdown "${options[@]}" \
    >"$WORK/plan.md" 2>"$WORK/plan.err" || CODE=$?
  if [[ -s $WORK/plan.json ]]; then
    DIGEST=$(jq -r .digest "$WORK/plan.json")
  fi
}

is_reviewable() {
  [[ $CODE == 0 || $CODE == 3 || $CODE == 4 ]]
}

# Prints what exit code $1 of `plan --exit-code` means for the reviewer.
plan_meaning() {
  case $1 in
    0) echo "Nothing to change in Pigment." ;;
    3) echo "After the merge, \`apply\` makes these changes." ;;
    4) echo "**Guards hold changes of this plan. Who approves and merges it approves these changes too.**" ;;
    6) echo "A read was incomplete, or credentials were refused: there is no plan to approve. Run the job again." ;;
    8) echo "The configuration or a secret of it is not valid." ;;
    *) echo "The plan could not be made (exit code $1)." ;;
  esac
}

# Prints what exit code $1 of `apply` means, and the next step.
apply_meaning() {
  case $1 in
    0) echo "The approved plan was applied." ;;
    4) echo "Some changes still need an approval, such as that of a second person (\`approvals.needed\`). The report names them." ;;
    5) echo "Some changes failed or were not tried. The next run tries them again; the report names each." ;;
    6) echo "A read was incomplete, or credentials were refused. Nothing was written to that workspace. Run the job again." ;;
    7) echo "Another run holds the workspace. Nothing was written. Run the job again." ;;
    8) echo "The configuration or a secret of it is not valid. Nothing was written." ;;
    9) echo "The plan has changed since it was approved. Nothing was written. Make a new plan and have it approved." ;;
    *) echo "The plan could not be applied (exit code $1)." ;;
  esac
}

# Writes comment.md: $1 is the hidden mark by which the next run finds the comment, $2 a line on commit and job.
# shellcheck disable=SC2016  # the backticks are Markdown
write_comment() {
  {
    printf '%s\n### pigment-sync: plan for `%s`\n\n%s\n\n' "$1" "${CONFIG//\`/}" "$2"
    if [[ ! -e $WORK/plan.md ]]; then
      check_part
    else
      printf '%s\n\n' "$(plan_meaning "$CODE")"
      if [[ -n $DIGEST ]]; then
        printf 'Digest: `%s`\n\n' "$DIGEST"
      fi
      if ! is_reviewable; then
        fenced "$WORK/plan.err"
      fi
      cat "$WORK/plan.md"
    fi
  } >"$WORK/comment.md"
  shorten "$WORK/comment.md" "$COMMENT_LIMIT"
}

check_part() {
  if [[ $CODE == 0 ]]; then
    echo "The configuration is valid. No plan was made: a plan needs secrets, and this change gets none."
  else
    echo "The configuration is not valid (exit code $CODE)."
  fi
  fenced "$WORK/check.txt"
}

# Prints file $1 as code; nothing in it can end the fence.
fenced() {
  if [[ -s $1 ]]; then
    printf '\n~~~~text\n%s\n~~~~\n\n' "$(sed 's/~~~/~ ~ ~/g' "$1")"
  fi
}

# Cuts file $1 at the end of a line, to at most $2 characters. Its first lines then say so.
shorten() {
  local LC_ALL=C.UTF-8 text notice
  text=$(<"$1")
  if ((${#text} <= $2)); then
    return
  fi
  notice="**This comment is cut: the plan is longer than a comment may be. The artefact \`plan.json\` has all of it.**"
  local first=${text%%$'\n'*} rest=${text#*$'\n'}
  local closing=$'</details>\n'
  rest=${rest:0:$2 - ${#first} - ${#notice} - 400}
  rest=${rest%$'\n'*}
  local opened closed
  opened=$(grep -o '<details>' <<<"$rest" | wc -l) || true
  closed=$(grep -o '</details>' <<<"$rest" | wc -l) || true
  {
    printf '%s\n%s\n\n%s\n' "$first" "$notice" "$rest"
    while ((opened > closed)); do
      printf '\n%s' "$closing"
      closed=$((closed + 1))
    done
  } >"$1"
}

# Applies plan.json. $1 is who approved it, $2 the reason. Sets CODE; applied.md is the report.
apply_plan() {
  local options=()
  mapfile -t options < <(each_with_option --guard "${PIGMENT_SYNC_GUARDS:-}")
  CODE=0
  if [[ $(jq -r '[.workspaces[] | select(.mode != "dry-run")] | length' "$WORK/plan.json") == 0 ]]; then
    echo "Every workspace of the approved plan is in mode dry-run: there is nothing to apply." | tee "$WORK/applied.md"
    return
  fi
  agent apply "$WORK/plan.json" --by "$1" --reason "$2" --wait 300 --format markdown "${options[@]}" \
    >"$WORK/applied.md" 2>"$WORK/apply.err" || CODE=$?
  if [[ $CODE != 0 ]]; then
    cat "$WORK/apply.err" >&2
  fi
}

# Prints the report of apply_plan for a job summary or a log.
applied_report() {
  printf '### pigment-sync: %s\n\n' "$(apply_meaning "$CODE")"
  if [[ -s $WORK/apply.err ]]; then
    fenced "$WORK/apply.err"
  fi
  cat "$WORK/applied.md"
}

# Sends a request: method $1, URL $2, and the file $3 as JSON. Sets STATUS (000: no answer); answer.json is the body.
# HEADER is the header with the token, which stays out of the list of processes. Only a GET is repeated: a second POST
# could make a second comment.
send_request() {
  local options=(--silent --show-error --location --max-time 60 --output "$WORK/answer.json" --write-out '%{http_code}')
  if [[ $1 == GET ]]; then
    options+=(--retry 3)
  fi
  if [[ -n ${3:-} ]]; then
    options+=(--header 'Content-Type: application/json' --data-binary "@$3")
  fi
  STATUS=$(curl "${options[@]}" --request "$1" --header @<(printf '%s\n' "$HEADER") "$2" 2>"$WORK/curl.err") || STATUS=000
}

# Sends a request as send_request does; without an answer of success the script ends. $4 is the next step for 401 to 404.
request() {
  send_request "$1" "$2" "${3:-}"
  if [[ $STATUS == 2* ]]; then
    return
  fi
  local what="$1 ${2%%\?*}"
  case $STATUS in
    000) fail 1 "$what got no answer: $(head -c 300 "$WORK/curl.err")." "Run the job again." ;;
    401 | 403 | 404) fail 1 "$what was refused with $STATUS: $(server_message)." "$4" ;;
    *) fail 1 "$what failed with $STATUS: $(server_message)." "Run the job again." ;;
  esac
}

server_message() {
  jq -r '(.message // .error // "no message") | tostring | .[0:300]' "$WORK/answer.json" 2>/dev/null || echo "no message"
}

# Collects all pages of the list at URL $1 into file $2. $3 is the next step when access is refused.
request_list() {
  local page mark='?'
  if [[ $1 == *\?* ]]; then
    mark='&'
  fi
  echo '[]' >"$2"
  for page in {1..30}; do
    request GET "$1${mark}per_page=100&page=$page" "" "$3"
    jq -s '.[0] + (.[1] | if type == "object" then .artifacts else . end)' "$2" "$WORK/answer.json" >"$WORK/list.json"
    mv "$WORK/list.json" "$2"
    if [[ $(jq 'if type == "object" then .artifacts else . end | length' "$WORK/answer.json") -lt 100 ]]; then
      return
    fi
  done
  fail 1 "GET ${1%%\?*} has more than 3,000 entries." "Start with a new pull request."
}
