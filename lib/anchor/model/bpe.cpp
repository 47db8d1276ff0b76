#include "anchor/model/bpe.hpp"

#include <queue>
#include <tuple>

namespace anchor {

bool Bpe::add_merge(int left, int right, int merged, int rank) {
  return merges_.emplace(key(left, right), Merge{rank, merged}).second;
}

void Bpe::encode(std::string_view piece, std::vector<int>& tokens) const {
  std::vector<int> symbols;
  symbols.reserve(piece.size());
  for (const char c : piece) {
    const int id = byte_symbol_[static_cast<unsigned char>(c)];
    if (id >= 0) symbols.push_back(id);
  }
  merge(symbols, tokens);
}

void Bpe::merge(const std::vector<int>& ids, std::vector<int>& tokens) const {
  struct Symbol {
    int id, previous, next;  // id -1: merged into its left neighbour
  };
  if (ids.empty()) return;
  std::vector<Symbol> symbols;
  symbols.reserve(ids.size());
  for (const int id : ids) {
    const int at = static_cast<int>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  }
  symbols.back().next = -1;

  // Candidates hold the pair they were made for; one that has changed since is stale and skipped.
  struct Candidate {
    int rank, at, left, right, merged;
    bool operator>(const Candidate& other) const {
      return std::tie(rank, at) > std::tie(other.rank, other.at);
    }
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto offer = [&](int at) {
    if (at < 0 || symbols[at].next < 0) return;
    const int left = symbols[at].id, right = symbols[symbols[at].next].id;
    if (const Merge* merge = find(left, right))
      candidates.push({merge->rank, at, left, right, merge->symbol});
  };
  for (int at = 0; at < static_cast<int>(symbols.size()); ++at) offer(at);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = symbols[best.at];
    if (left.id != best.left || left.next < 0 || symbols[left.next].id != best.right) continue;
    Symbol& right = symbols[left.next];
    left.id = best.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = best.at;
    offer(left.previous);
    offer(best.at);
  }
  for (int at = 0; at >= 0; at = symbols[at].next) tokens.push_back(symbols[at].id);
}

}  // namespace anchor
