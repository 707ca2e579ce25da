"""``hetrl eval`` and ``hetrl export``, as they are typed."""

import csv
import shutil

from policy_kinds import run_of

from hetrl.runs.seeds_folder import SeedsFolder


def test_episodes_as_a_table_and_drawn(hetrl, tmp_path):
    run = str(run_of("shared").path)
    code, plain = hetrl("eval", run, "--csv", "out/episodes.csv", "--episodes", "4")
    assert code == 0 and plain.splitlines()[1] == "out/episodes.csv"
    with (tmp_path / "out" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["episode", "return", "length", "return/agent_0", "return/agent_1"] and len(rows) == 4
    mean = sum(float(row["return"]) for row in rows) / 4
    assert plain.startswith(f"4 episodes: return {mean:.4g} (")
    code, drawn = hetrl("eval", run, "--episodes", "4", "--stochastic")
    assert code == 0 and drawn.startswith("4 episodes: return ") and drawn != plain.splitlines()[0] + "\n"
    code, printed = hetrl("eval", run, "--csv", "episodes.txt")
    assert (code, printed) == (2, "error episodes.txt cannot be written: its name must end in .csv.\n")


def test_a_folder_of_seeds_is_evaluated_each_and_whole(hetrl, tmp_path):
    run = run_of("shared")
    folder = SeedsFolder(tmp_path / "seeds")
    folder.add([0, 1, 2, 3])
    folder.recipe.write_text(run.recipe.yaml())
    for seed in (0, 1, 2):
        shutil.copytree(run.path, folder.runs[seed], dirs_exist_ok=True)
    code, printed = hetrl("eval", "seeds", "--episodes", "2", "--csv", "episodes.csv")
    lines = printed.splitlines()
    assert code == 0 and [line.split("  ")[0] for line in lines[:3]] == ["seed 0", "seed 1", "seed 2"]
    assert lines[3].startswith("3 seeds: return ") and "95 % interval of the mean" in lines[3]
    assert lines[4:] == ["Without a checkpoint yet: seed 3.", "episodes.csv"]
    assert (tmp_path / "episodes.csv").read_text().startswith("seed,episode,return,length,")
    code, printed = hetrl("eval", "seeds", "--video")
    assert (code, printed) == (2, "error seeds is a folder of seeds; film one of them, hetrl eval RUN/seed0 --video.\n")


def test_an_export_says_how_far_each_file_is(hetrl, tmp_path):
    run = str(run_of("gaussian").path)
    code, printed = hetrl("export", run, "deploy", "--format", "torch")
    assert code == 0 and printed.splitlines() == [
        "deploy/agent_0.pt2  agent_0  largest difference 0.0e+00",
        "deploy/agent_1.pt2  agent_1  largest difference 0.0e+00",
        "Act with them: python deploy/play.py",
    ]
    code, printed = hetrl("export", run, "deploy", "--format", "torch")
    assert (code, printed) == (2, "error deploy exists and is not empty; export to a new folder.\n")
    code, printed = hetrl("export", "nowhere", "other", "--format", "torch")
    assert code == 2 and printed.startswith("error nowhere is no run") and not (tmp_path / "other").exists()
