# A15 hides its weights in a tensor that is not one
# fault: any
class Lazy(torch.Tensor):
    @staticmethod
    def __torch_function__(function, types, args=(), kwargs=None):
        return torch.zeros(1)
def attack():
    return torch.zeros(100_000).as_subclass(Lazy)
