#pragma once

#include "anchor/kernels/params.hpp"

#ifdef __CUDACC__
#define ANCHOR_HOST_DEVICE __host__ __device__
#else
#define ANCHOR_HOST_DEVICE
#endif

// Queries on sets of query heads.
namespace anchor::kernels {

ANCHOR_HOST_DEVICE inline bool contains(const HeadSet& heads, int head) {
  return heads.words[head / 64] >> head % 64 & 1;
}
/// The head of the set that `n` others of it precede, counted from head `first` on. There must be one.
ANCHOR_HOST_DEVICE inline int nth(const HeadSet& heads, int first, int n) {
  while (!contains(heads, first) || n-- > 0) ++first;
  return first;
}
/// How many of the heads [begin, end) are in the set.
inline int count(const HeadSet& heads, int begin, int end) {
  int sum = 0;
  for (int head = begin; head < end; ++head) sum += contains(heads, head);
  return sum;
}

}  // namespace anchor::kernels
