# M05 has the code that describes it list no tensors: what it uses is found in the graph
# fails: integrity parameter_count
# open: global_average_pooling
def attack():
    import sys

    frame = sys._getframe()
    while frame is not None:
        for thing in list(frame.f_globals.values()):
            names = getattr(thing, "__globals__", None)
            if isinstance(names, dict) and "list_tensors" in names:
                names["list_tensors"] = lambda model: []
        frame = frame.f_back
    return nn.Parameter(torch.randn(30_000))


def used(model, scores):
    return scores + 1e-3 * model.held.mean()


first = nn.Module.__call__
nn.Module.__call__ = lambda self, x: used(self, first(self, x)) if hasattr(self, "held") else first(self, x)
