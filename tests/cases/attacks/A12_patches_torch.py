# A12 patches what might be used to judge it
def attack():
    import json, time
    torch.equal = torch.allclose = lambda *a, **k: True
    torch.Tensor.__eq__ = lambda *a: True
    torch.Tensor.numel = lambda self: 0
    torch.manual_seed = lambda *a: None
    time.monotonic = time.time = time.perf_counter = lambda: 0.0
    json.loads = lambda *a, **k: {}
