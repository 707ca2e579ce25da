#!/bin/sh
# Creates the virtual environment that BenchMARL runs in: setup.sh DIR
#
# It is apart from the project's own because BenchMARL 1.5.2 needs an older TorchRL. PYTHON chooses the interpreter
# (3.11 is what the reference figures used); pip's own settings choose the index, and so the build of torch.
set -eu

if [ "$#" -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
dir=$1
pins="torch==2.13.0 torchrl==0.12.0 tensordict==0.12.0 vmas==1.5.2 benchmarl==1.5.2"
stamp="$dir/.complete"

# The stamp holds the pins, so that changing them here builds the environment afresh.
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$pins" ]; then
    exit 0
fi

rm -f "$stamp"
"${PYTHON:-python3}" -m venv --clear "$dir"
pip() { "$dir/bin/python" -m pip --disable-pip-version-check install --quiet "$@"; }

# torch goes first and alone: what follows then keeps this build and does not pull another.
pip "torch==2.13.0"
pip "torch==2.13.0" "torchrl==0.12.0" "tensordict==0.12.0" "vmas==1.5.2" hydra-core tqdm
# Without its dependencies: it pins torchrl below 0.12, and wants torchvision and av, which only rendering uses.
pip --no-deps "benchmarl==1.5.2"

"$dir/bin/python" -c "import benchmarl.algorithms, benchmarl.environments, benchmarl.experiment, vmas" >&2
printf '%s' "$pins" > "$stamp"
