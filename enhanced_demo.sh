#!/usr/bin/env bash
# Shows the demo on the embedded model and a sample picture; further flags are passed on and win.  With serve it starts
# the server instead.
#
#   ./enhanced_demo.sh
#   ./enhanced_demo.sh --model_path VITA-MLLM/VITA-1.5 --image_path photo.jpg --question "What is this?"
#   ./enhanced_demo.sh serve
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/environment.sh
. "$here/scripts/environment.sh"
if [ "${1:-}" = serve ]; then
    use_environment serve
    exec "$PYTHON" -m vita_demo "$@"
fi
use_environment

# The sample question and picture stand in only where no flag brings its own.
question=(--question "Describe this image.")
picture=(--image_path "$here/assets/scene.png")
for flag in "$@"; do
    case ${flag//-/_} in
        __question* | __audio_path*) question=() ;;
    esac
    case ${flag//-/_} in
        __image_path* | __video_path* | __audio_path*) picture=() ;;
    esac
done
exec "$PYTHON" -m vita_demo --enable_callbacks --streaming "${question[@]}" "${picture[@]}" "$@"
