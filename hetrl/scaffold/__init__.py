"""What ``hetrl new`` writes: a package of your own, with one component in it. The files are under ``template``."""
