// The package in C++. With T=$(python -c "import torch; print(torch.__path__[0])"):
// g++ -std=c++20 run_package.cpp -I$T/include -I$T/include/torch/csrc/api/include
//     -L$T/lib -Wl,-rpath,$T/lib -ltorch -ltorch_cpu -lc10 -o run_package
#include <fstream>
#include <iterator>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

int main() {
  torch::inductor::AOTIModelPackageLoader potential("potential.pt2");
  std::ifstream file("ethanol.pt", std::ios::binary);  // z, pos, batch, edge_index
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<torch::Tensor> inputs;
  auto loaded = torch::pickle_load(bytes);
  for (const auto& input : loaded.toListRef()) inputs.push_back(input.toTensor());
  auto results = potential.run(inputs);
  printf("energy %.9f eV\n", results[0].item<double>());
}
