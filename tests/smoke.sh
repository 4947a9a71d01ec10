#!/usr/bin/env bash
# Asks a running server one thing of everything, with curl alone, and says what came: tests/smoke.sh [URL] [KEY].
# URL is http://127.0.0.1:5000 unless given; KEY is the server's key, if it wants one.
# Ends with "all passed" and status 0, or with the number of failures and status 1.
set -uo pipefail

url=${1:-http://127.0.0.1:5000}
url=${url%/}
key=${2:-}
json='Content-Type: application/json'
hello='"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 8, "temperature": 0'
passed=0
failed=0

# ask ARGUMENTS...: curl's answer in $body and $status.
ask() {
    local answer
    answer=$(curl --silent --show-error --max-time 120 --write-out '\n%{http_code}' "$@" 2>&1)
    status=${answer##*$'\n'}
    body=${answer%$'\n'*}
}

# check NAME STATUS PATTERN...: whether the last answer had that status, and each extended pattern somewhere in its body.
check() {
    local name=$1 wanted=$2 pattern
    shift 2
    if [ "$status" != "$wanted" ]; then
        say_failed "$name" "the status is $status instead of $wanted"
        return
    fi
    for pattern in "$@"; do
        if ! grep -Eq -e "$pattern" <<<"$body"; then
            say_failed "$name" "the body lacks $pattern"
            return
        fi
    done
    passed=$((passed + 1))
    echo "ok      $name"
}

say_failed() {
    failed=$((failed + 1))
    echo "FAILED  $1: $2"
    head -c 600 <<<"$body"
    echo
}

# With the key, if there is one.
authorized=()
if [ -n "$key" ]; then authorized=(-H "Authorization: Bearer $key"); fi
get() { ask ${authorized[@]+"${authorized[@]}"} "$url$1"; }
post() { ask ${authorized[@]+"${authorized[@]}"} -H "$json" -d "$2" "$url$1"; }

echo "Asking $url"
ask "$url/"
check "landing page" 200 '<html'
ask "$url/docs"
check "documentation" 200 '<html'
ask "$url/openapi.json"
check "OpenAPI document" 200 '"openapi" *: *"3\.' '"/v1/chat/completions"'
ask "$url/health"
check "health" 200 '"status" *: *"'

get /v1/models
check "models" 200 '"object" *: *"list"' '"object" *: *"model"' '"id"'
model=$(grep -Eo '"id" *: *"[^"]+"' <<<"$body" | head -n 1 | sed 's/.*: *"//; s/"$//')
get "/v1/models/$model"
check "one model" 200 "\"id\" *: *\"$model\""

post /v1/chat/completions "{\"model\": \"$model\", $hello}"
check "chat" 200 '"object" *: *"chat\.completion"' '"role" *: *"assistant"' '"content"' '"finish_reason"' '"total_tokens"'
post /v1/chat/completions "{\"model\": \"$model\", $hello, \"stream\": true}"
check "chat, streamed" 200 '^data: \{' '"chat\.completion\.chunk"' '"delta"' '"finish_reason":"' '^data: \[DONE\]'
post /v1/completions "{\"model\": \"$model\", \"prompt\": \"Once upon a time\", \"max_tokens\": 8}"
check "completion" 200 '"object" *: *"text_completion"' '"text"'
post /v1/completions "{\"model\": \"$model\", \"prompt\": \"Once upon a time\", \"max_tokens\": 8, \"stream\": true}"
check "completion, streamed" 200 '^data: \{' '"text_completion"' '^data: \[DONE\]'
post /v1/internal/token-count '{"text": "Once upon a time"}'
check "token count" 200 '"length" *: *[1-9]'

post /v1/chat/completions "{\"model\": \"no/such-model\", $hello}"
check "unknown model" 404 '"code" *: *"model_not_found"' '"message"'
post /v1/chat/completions "{\"model\": \"$model\"}"
check "no messages" 400 '"param" *: *"messages"' '"type" *: *"invalid_request_error"'
post /v1/chat/completions "{\"model\": \"$model\", $hello, \"top_p\": 7}"
check "value out of range" 400 '"param" *: *"top_p"'
post /v1/chat/completions '{"model": '
check "broken JSON" 400 '"type" *: *"invalid_request_error"'
get /v1/models
if grep -q '"transcription"' <<<"$body"; then
    # A second of silence as wav: 16 bits, 16 kHz, one channel.
    recording=$(mktemp)
    printf 'RIFF\x24\x7d\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x7d\x00\x00' >"$recording"
    head -c 32000 /dev/zero >>"$recording"
    send() { ask ${authorized[@]+"${authorized[@]}"} "$@"; }
    send -F "file=@$recording;filename=a.wav" -F model=whisper-1 "$url/v1/audio/transcriptions"
    check "transcription" 200 '"text" *:' '"usage" *:'
    send -F "file=@$recording;filename=a.wav" -F response_format=verbose_json "$url/v1/audio/transcriptions"
    check "transcription with times" 200 '"duration" *: *1' '"segments" *: *\['
    send -F "file=@$recording;filename=a.wav" -F response_format=vtt "$url/v1/audio/translations"
    check "subtitles of a translation" 200 'WEBVTT'
    send -F "file=@$recording;filename=a.wav" -F stream=true "$url/v1/audio/transcriptions"
    check "streamed transcription" 200 'transcript\.text\.done'
    send -F "file=$recording" "$url/v1/audio/transcriptions"
    check "a path in place of a recording" 400 '"param" *: *"file"'
    rm -f "$recording"
fi
get /v1/no/such/path
check "unknown path" 404 '"error"' '"message"'
get /v1/chat/completions
check "wrong method" 405 '"error"'

if [ -n "$key" ]; then
    ask "$url/v1/models"
    check "no key" 401 '"error"' '"message"'
    ask -H "Authorization: Bearer not-$key" "$url/v1/models"
    check "wrong key" 401 '"code" *: *"invalid_api_key"'
    ask -H "Authorization: Bearer not-$key" -H "$json" -d "{\"model\": \"$model\", $hello}" "$url/v1/chat/completions"
    check "chat with a wrong key" 401 '"code" *: *"invalid_api_key"'
fi
ask -X OPTIONS -H 'Origin: https://example.org' -H 'Access-Control-Request-Method: POST' --include "$url/v1/chat/completions"
check "a web page's leave" 200 '[Aa]ccess-[Cc]ontrol-[Aa]llow-[Oo]rigin'

if [ "$failed" -gt 0 ]; then
    echo "$failed of $((passed + failed)) failed"
    exit 1
fi
echo "$passed checks: all passed"
