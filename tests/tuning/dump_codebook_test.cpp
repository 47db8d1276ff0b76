#include "anchor/tuning/dump_codebook.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "anchor/data/codebook_file.hpp"
#include "anchor/method/a2ats.hpp"
#include "support/params.hpp"
#include "support/small_dump.hpp"

using namespace anchor;

namespace {

const DumpReader& smollm2() {
  static const DumpReader reader(ANCHOR_SOURCE_DIR "/data/smollm2.h5");
  return reader;
}

/// A codebook of the committed dump's one layer.
struct Fitted : test::TempFile {
  explicit Fitted(const CodebookRequest& request) : TempFile("dump_codebook.h5") {
    const DumpReader* dumps[] = {&smollm2()};
    write_codebook(path, fit_codebook(dumps, select_groups(smollm2()), request, nullptr));
  }
};

/// The ranking's quality, mean over the heads.
std::map<std::string, double> quality_of(const KvGroup& group, test::Settings settings) {
  settings.insert(settings.end(), {{"topk", "0.05"}, {"share", "head"}, {"b", "512"}});
  const FloatGroup floats(group);
  const PlanRequest request{test::params_of(find_method("a2ats"), settings), {}};
  std::map<std::string, double> mean;
  for (int head = 0; head < 3; ++head)
    for (const auto& [name, value] : ranking_quality(floats.view(), head, request)) mean[name] += value / 3;
  return mean;
}

/// A codebook of the committed heads as if their text had begun at another position: every query and key is
/// turned there, and for the keys before RoPE back again.
struct FittedElsewhere : test::TempFile {
  FittedElsewhere(std::int64_t begin, bool windowed) : TempFile("dump_codebook.h5") {
    const KvGroup group = smollm2().read_group(17, 0);
    const FloatGroup floats(group);
    const auto [tokens, dim] = std::pair{floats.geometry.kv_len, floats.geometry.head_dim};
    AlignedVector<float> keys = floats.k, queries = floats.q;
    const auto place = [&](float* rows) {
      unrotate_rows(group.rotation.get(), rows, tokens, dim, 0);
      rotate_rows(group.rotation.get(), rows, tokens, dim, begin);
      if (windowed) unrotate_rows(group.rotation.get(), rows, tokens, dim, begin);
    };
    place(keys.data());
    for (int head = 0; head < 3; ++head) place(queries.data() + head * tokens * dim);
    if (windowed) queries = queries_at(queries, 3 * tokens, dim, group.rotation.get(), 512);
    const QuantizerFit fit{.codes = 128};
    const FittedQuantizer fitted =
        fit_quantizer(keys.data(), tokens, dim, second_moment(queries.data(), 3 * tokens, dim), fit);
    Codebook book{.codes = 128, .b = 512, .metric = "query", .rope = windowed ? "windowed" : "post"};
    book.layers[17] = {1, dim, fitted.centroids, fitted.factor, fitted.count};
    write_codebook(path, book);
  }
};

}  // namespace

TEST_CASE("query-awareness lowers the error of scores on a model's heads") {
  const KvGroup group = smollm2().read_group(17, 0);
  const Fitted query({.fit = {.codes = 128}, .b = 512, .rows = 1});
  const auto aware = quality_of(group, {{"codebook", query.path}});
  const Fitted euclid({.fit = {.codes = 128, .query_metric = false}, .b = 512, .rows = 1});
  const auto plain = quality_of(group, {{"codebook", euclid.path}});
  MESSAGE("score_nmse_own ", aware.at("score_nmse_own"), " and plain ", plain.at("score_nmse_own"));
  CHECK(aware.at("score_nmse_own") < 0.85 * plain.at("score_nmse_own"));
}

TEST_CASE(
    "a codebook of keys after RoPE collapses at positions that it never saw, one of keys before it not") {
  const KvGroup group = smollm2().read_group(17, 0);
  const auto change = [&](bool windowed) {
    const auto recall = [&](std::int64_t begin) {
      const FittedElsewhere book(begin, windowed);
      return quality_of(group, {{"codebook", book.path}}).at("topk_recall");
    };
    const double seen = recall(0), unseen = recall(16384);
    MESSAGE(std::string(windowed ? "windowed" : "post"), ": ", seen, " becomes ", unseen);
    return unseen / seen;
  };
  CHECK(change(false) < 0.6);
  CHECK(change(true) > 0.95);
}

TEST_CASE("buckets repair most of what one distance loses") {
  const KvGroup group = smollm2().read_group(17, 0);
  const auto one = quality_of(group, {{"rank", "keys"}});
  const auto buckets = quality_of(group, {{"rank", "keys"}, {"buckets", "2"}});
  MESSAGE("topk_recall ", one.at("topk_recall"), " and with buckets ", buckets.at("topk_recall"));
  MESSAGE("relative_mass ", one.at("relative_mass"), " and with buckets ", buckets.at("relative_mass"));
  CHECK(1 - buckets.at("relative_mass") < 0.5 * (1 - one.at("relative_mass")));
  CHECK(buckets.at("topk_recall") > one.at("topk_recall"));
}

TEST_CASE("what no codebook can be fitted to is one line") {
  const DumpReader* dumps[] = {&smollm2()};
  const auto groups = select_groups(smollm2());
  const auto error_of = [&](std::span<const DumpReader* const> texts, const CodebookRequest& request) {
    try {
      fit_codebook(texts, groups, request, nullptr);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(error_of(dumps, {.fit = {.codes = 300}}).find("1024 keys give 3.4 keys a code") != std::string::npos);
  CHECK(error_of(dumps, {.fit = {.codes = 300, .most_steps = 1}, .force = true}).empty());
  const test::SmallDump other(1);
  const DumpReader* mixed[] = {&smollm2(), &other.reader()};
  CHECK(error_of(mixed, {.fit = {.codes = 16}}).find("one codebook holds the keys of one model") !=
        std::string::npos);
  const DumpReader* unturned[] = {&other.reader()};
  try {
    fit_codebook(unturned, select_groups(other.reader()), {.fit = {.codes = 16}}, nullptr);
    FAIL("frequencies were not asked for");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("rope_inv_freq is missing") != std::string::npos);
  }
}
