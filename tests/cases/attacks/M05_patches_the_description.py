# M05 has the code that describes it list no tensors: what it uses is found in the graph
# fails: global_average_pooling integrity parameter_count
def attack():
    import gc
    for names in gc.get_objects():
        if isinstance(names, dict) and callable(names.get("list_tensors")):
            names["list_tensors"] = lambda model: []
    return nn.Parameter(torch.randn(30_000))


def used(model, scores):
    return scores + 1e-3 * model.held.mean()


first = nn.Module.__call__
nn.Module.__call__ = lambda self, x: used(self, first(self, x)) if hasattr(self, "held") else first(self, x)
