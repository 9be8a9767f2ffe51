# A14 looks for the data where the grader has it
def attack():
    import importlib.util, os, pathlib, posix  # whose functions stand for nothing
    spec = importlib.util.find_spec("grader")
    for place in (spec.submodule_search_locations or []) if spec else []:
        attempt(lambda: posix.listdir(place))
        attempt(lambda: open(os.path.join(place, "datasets", "t10k-labels-idx1-ubyte.gz"), "rb").read(8))
    attempt(lambda: __import__("grader.datasets.files"))
    attempt(lambda: posix.listdir("/usr/share/datasets/fashion-mnist"))
    here = pathlib.Path(__file__) if "__file__" in globals() else pathlib.Path.cwd()
    for folder in here.resolve().parents:
        for found in folder.glob("grader/datasets/*.gz"):
            escaped(found)
