#include "anchor/model/tensor_store.hpp"

#include "anchor/base/error.hpp"

namespace anchor {

void TensorStore::add_tensor(const WeightTensor& tensor) {
  if (!index_.emplace(tensor.name, tensors_.size()).second)
    fail("{}: tensor '{}' occurs twice", path_, tensor.name);
  tensors_.push_back(tensor);
}

const WeightTensor* TensorStore::find_tensor(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const WeightTensor& TensorStore::tensor(std::string_view name, std::int64_t rows,
                                        std::int64_t columns) const {
  const WeightTensor* tensor = find_tensor(name);
  if (!tensor) fail("{}: tensor '{}' is missing", path_, name);
  if (tensor->shape != std::array<std::int64_t, 4>{columns, rows, 1, 1}) {
    fail("{}: tensor '{}' has shape [{}], expected [{}, {}]", path_, name, fmt::join(tensor->shape, ", "),
         columns, rows);
  }
  return *tensor;
}

const WeightTensor& TensorStore::stack(std::string_view name, std::int64_t count, std::int64_t rows,
                                       std::int64_t columns) const {
  const WeightTensor* tensor = find_tensor(name);
  if (!tensor) fail("{}: tensor '{}' is missing", path_, name);
  if (tensor->shape != std::array<std::int64_t, 4>{columns, rows, count, 1}) {
    fail("{}: tensor '{}' has shape [{}], expected [{}, {}, {}]", path_, name, fmt::join(tensor->shape, ", "),
         columns, rows, count);
  }
  return *tensor;
}

}  // namespace anchor
