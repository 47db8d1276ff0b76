#include "anchor/tuning/dump_codebook.hpp"

#include <algorithm>

#include "anchor/attention/attention.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/far_scores.hpp"
#include "anchor/replay/dump_stream.hpp"

namespace anchor {
namespace {

constexpr std::int64_t keys_per_code = 4;  // with fewer, centroids are little more than single keys

/// The keys of one KV head on all texts, and the queries by which they are seen.
struct Sample {
  AlignedVector<float> keys, queries;

  void add(const KvGroup& group, const CodebookRequest& request) {
    const FloatGroup floats(group);
    const Geometry& g = floats.geometry;
    const Rotation* rotation = request.windowed ? group.rotation.get() : nullptr;
    AlignedVector<float> own = floats.k;
    unrotate_rows(rotation, own.data(), g.kv_len, g.head_dim, 0);
    keys.insert(keys.end(), own.begin(), own.end());
    for (int head = 0; head < g.q_heads; ++head) {
      for (std::int64_t i = 0; i < g.q_len; i += request.rows) {
        const float* row = floats.view().q_row(head, i);
        AlignedVector<float> query(row, row + g.head_dim);
        unrotate_rows(rotation, query.data(), 1, g.head_dim, g.q_start + i);
        query = queries_at(query, 1, g.head_dim, rotation, request.b);
        queries.insert(queries.end(), query.begin(), query.end());
      }
    }
  }
};

void require_enough_keys(std::int64_t keys, const CodebookRequest& request) {
  if (request.force || request.fit.codes * keys_per_code <= keys) return;
  fail_usage(
      "codes={}: {} keys give {:.2g} keys a code, and fewer than {} say little; take longer texts, or "
      "--force",
      request.fit.codes, keys, static_cast<double>(keys) / static_cast<double>(request.fit.codes),
      keys_per_code);
}

Codebook without_layers(std::span<const DumpReader* const> dumps, const CodebookRequest& request) {
  Codebook book;
  book.codes = request.fit.codes;
  book.parts = request.fit.parts;
  book.b = request.b;
  book.metric = request.fit.query_metric ? "query" : "plain";
  book.rope = request.windowed ? "windowed" : "post";
  book.model = dumps[0]->header().model;
  for (const DumpReader* dump : dumps) {
    if (dump->header().model != book.model)
      fail("{} is of {}, {} is of {}: one codebook holds the keys of one model", dumps[0]->path(), book.model,
           dump->path(), dump->header().model);
    const std::string& path = dump->path();
    if (!book.fitted_on.empty()) book.fitted_on.push_back(',');
    book.fitted_on.append(path, path.rfind('/') + 1);
  }
  return book;
}

}  // namespace

Codebook fit_codebook(std::span<const DumpReader* const> dumps, const std::vector<GroupSelection>& groups,
                      const CodebookRequest& request, const std::function<void(std::size_t)>& progress) {
  Codebook book = without_layers(dumps, request);
  for (const DumpReader* dump : dumps) require_same_heads(*dumps[0], *dump, groups);
  for (std::size_t n = 0; n < groups.size(); ++n) {
    check_interrupt();
    const auto& [layer, kv_head, first_head, heads] = groups[n];
    const Geometry& g = dumps[0]->layer(layer).geometry;
    Sample sample;
    for (const DumpReader* dump : dumps) sample.add(read_finite_group(*dump, layer, kv_head), request);
    const auto dim = static_cast<std::size_t>(g.head_dim);
    const auto keys = static_cast<std::int64_t>(sample.keys.size() / dim);
    require_enough_keys(keys, request);
    const std::vector<double> moment = second_moment(
        sample.queries.data(), static_cast<std::int64_t>(sample.queries.size() / dim), g.head_dim);
    const FittedQuantizer fitted = fit_quantizer(sample.keys.data(), keys, g.head_dim, moment, request.fit);
    LayerCodebook& into = book.layers[layer];
    if (into.kv_heads == 0) {
      into.kv_heads = g.kv_heads;
      into.head_dim = g.head_dim;
      into.centroids.resize(static_cast<std::size_t>(g.kv_heads) * fitted.centroids.size());
      into.factor.resize(static_cast<std::size_t>(g.kv_heads) * fitted.factor.size());
      into.count.resize(static_cast<std::size_t>(g.kv_heads) * fitted.count.size());
    }
    const auto place = [&](const auto& from, auto& to) {
      std::copy(from.begin(), from.end(), to.begin() + kv_head * std::ssize(from));
    };
    place(fitted.centroids, into.centroids);
    place(fitted.factor, into.factor);
    place(fitted.count, into.count);
    if (progress) progress(n);
  }
  return book;
}

}  // namespace anchor
