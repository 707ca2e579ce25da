"""What is said when training ends."""

from hetrl.cli.outcome import _last_return


def test_the_return_and_the_rates_of_the_last_evaluation(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "frames,return,eval/return,eval/info/won,eval/info/won_low,eval/info/won_high,eval/info/killed\n"
        "0,,0.5,0.0,0.0,0.057,1.5\n10,0.7,,,,,\n20,,1.5,0.75,0.63,0.84,2.5\n"
    )
    assert _last_return(path) == (
        " eval/return went from 0.5 to 1.5 (best 1.5). eval/info/won is 0.75 (95 % 0.63 to 0.84)."
    )
    path.write_text("frames,return\n10,0.5\n20,0.7\n")
    assert _last_return(path) == " return went from 0.5 to 0.7 (best 0.7)."
    path.write_text("frames\n10\n")
    assert _last_return(path) == ""
