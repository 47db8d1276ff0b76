#include "anchor/data/codebook_file.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "support/temp_file.hpp"

using namespace anchor;

namespace {

Codebook small_book() {
  Codebook book{.codes = 3,
                .parts = 2,
                .b = 2048,
                .metric = "query",
                .rope = "windowed",
                .model = "m",
                .fitted_on = "a.h5,b.h5"};
  for (const int layer : {0, 17}) {
    LayerCodebook& made = book.layers[layer];
    made.kv_heads = 2;
    made.head_dim = 4;
    for (int n = 0; n < 2 * 3 * 4; ++n) made.centroids.push_back(static_cast<float>(n + layer) / 7);
    for (int n = 0; n < 2 * 4 * 4; ++n) made.factor.push_back(static_cast<float>(n) / 3);
    for (int n = 0; n < 2 * 2 * 3; ++n) made.count.push_back(n);
  }
  return book;
}

std::string error_of(const std::string& path) {
  try {
    read_codebook(path);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::data);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a codebook comes back from its file bit for bit") {
  const test::TempFile file("codebook.h5");
  const Codebook book = small_book();
  write_codebook(file.path, book);
  const Codebook back = read_codebook(file.path);
  CHECK(back.codes == 3);
  CHECK(back.parts == 2);
  CHECK(back.b == 2048);
  CHECK(back.metric == "query");
  CHECK(back.rope == "windowed");
  CHECK(back.model == "m");
  CHECK(back.fitted_on == "a.h5,b.h5");
  CHECK(back.bits() == doctest::Approx(2 * std::log2(3)));
  REQUIRE(back.layers.size() == 2);
  for (const auto& [number, layer] : book.layers) {
    CHECK(back.layers.at(number).kv_heads == 2);
    CHECK(back.layers.at(number).head_dim == 4);
    CHECK(back.layers.at(number).centroids == layer.centroids);
    CHECK(back.layers.at(number).factor == layer.factor);
    CHECK(back.layers.at(number).count == layer.count);
  }
}

TEST_CASE("what is no codebook, or a wrong one, is one line") {
  CHECK(error_of(ANCHOR_SOURCE_DIR "/data/smollm2.h5")
            .find("not a codebook: attribute format is \"anchor-qkv\"") != std::string::npos);
  CHECK(error_of(ANCHOR_SOURCE_DIR "/README.md").find("not an HDF5 file") != std::string::npos);
  const test::TempFile file("codebook.h5");
  Codebook book = small_book();
  book.layers[17].centroids[5] = std::nanf("");
  write_codebook(file.path, book);
  CHECK(error_of(file.path).find("layers/017/centroids: a number is NaN") != std::string::npos);
  book = small_book();
  book.metric = "cosine";
  write_codebook(file.path, book);
  CHECK(error_of(file.path).find("attribute metric is \"cosine\", it must be query or plain") !=
        std::string::npos);
  book = small_book();
  book.codes = 0;
  book.layers.clear();
  write_codebook(file.path, book);
  CHECK(error_of(file.path).find("attribute codes is 0") != std::string::npos);
  book = small_book();
  book.parts = 3;  // heads of dimension 4 have no three equal parts
  for (auto& [number, layer] : book.layers) layer.count.resize(2 * 3 * 3);
  write_codebook(file.path, book);
  CHECK(error_of(file.path).find("centroids: shape [2, 3, 4]") != std::string::npos);
}

TEST_CASE("a codebook cannot be written over a dump that it was fitted on") {
  const test::TempFile file("codebook.h5");
  const std::string inputs[] = {file.path};
  file.write("a dump");
  CHECK_THROWS_AS(write_codebook(file.path, small_book(), inputs), Error);
  CHECK(file.read() == "a dump");
}
