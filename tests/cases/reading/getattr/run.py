import torch
import nets

model = getattr(nets, 'Large')()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
