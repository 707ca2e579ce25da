"""What ``hetrl new`` writes: a package of your own, with one part in it. The files are under ``template``."""
