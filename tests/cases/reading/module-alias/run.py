import torch.optim as optim
import model as m

net = m.Net()
opt = optim.SGD(net.parameters(), lr=0.2)
