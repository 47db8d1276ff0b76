#include "anchor/data/codebook_file.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/part_file.hpp"
#include "anchor/data/hdf5/file.hpp"
#include "anchor/data/hdf5/image.hpp"
#include "anchor/data/layer_rules.hpp"

namespace anchor {
namespace {

using h5::Element;
using h5::NewObject;
using Shape = std::vector<std::int64_t>;

constexpr std::int64_t most_codes = 1 << 16;  // a code fits 16 bits

template <class T>
std::vector<std::byte> bytes_of(const T& values) {
  const auto bytes = std::as_bytes(std::span(values.data(), values.size()));
  return {bytes.begin(), bytes.end()};
}

NewObject root_of(const Codebook& book) {
  NewObject root{"/", {}, Element::other, {}, {}};
  root.attributes = {{"format", std::string("anchor-codebook")},
                     {"format_version", std::string("1.0")},
                     {"codes", book.codes},
                     {"parts", book.parts},
                     {"b", book.b},
                     {"metric", book.metric},
                     {"rope", book.rope},
                     {"model", book.model},
                     {"fitted_on", book.fitted_on},
                     {"tool", std::string("anchor-sweep codebook")}};
  return root;
}

std::vector<NewObject> objects_of(const Codebook& book) {
  std::vector<NewObject> objects{root_of(book), {"layers", {}, Element::other, {}, {}}};
  for (const auto& [number, layer] : book.layers) {
    const std::string path = "layers/" + layer_name(number);
    const std::int64_t heads = layer.kv_heads, dim = layer.head_dim;
    objects.push_back({path, {}, Element::other, {}, {}});
    objects.push_back(
        {path + "/centroids", {}, Element::f32, {heads, book.codes, dim}, bytes_of(layer.centroids)});
    objects.push_back({path + "/factor", {}, Element::f32, {heads, dim, dim}, bytes_of(layer.factor)});
    objects.push_back(
        {path + "/count", {}, Element::i32, {heads, book.parts * book.codes}, bytes_of(layer.count)});
  }
  return objects;
}

// ---- reading ----

std::int64_t count_of(const h5::Node& root, const char* attribute, std::int64_t least, std::int64_t most) {
  const auto value = root.integer(attribute);
  if (!value) fail("{}: attribute {} is missing", root.name, attribute);
  if (*value < least || *value > most)
    fail("{}: attribute {} is {}, it must lie in [{}, {}]", root.name, attribute, *value, least, most);
  return *value;
}

std::string word_of(const h5::Node& root, const char* attribute, std::span<const char* const> words) {
  const auto value = root.text(attribute);
  if (!value) fail("{}: attribute {} is missing", root.name, attribute);
  if (std::find(words.begin(), words.end(), *value) == words.end())
    fail("{}: attribute {} is {:?}, it must be {}", root.name, attribute, *value, fmt::join(words, " or "));
  return *value;
}

template <class T>
void read_dataset(const h5::File& file, const h5::Node& dataset, Element element, const Shape& shape,
                  T& values) {
  if (dataset.layout.shape != shape)
    fail("{}: shape [{}] must be [{}]", dataset.name, fmt::join(dataset.layout.shape, ", "),
         fmt::join(shape, ", "));
  if (dataset.layout.element != element)
    fail("{}: {} must be {}", dataset.name, dataset.layout.type_text,
         element == Element::f32 ? "f32" : "int32");
  file.require_stored(dataset);
  std::size_t size = 1;
  for (const std::int64_t extent : shape) size *= static_cast<std::size_t>(extent);
  values.resize(size);
  const auto bytes = std::as_writable_bytes(std::span(values.data(), size));
  if (dataset.layout.offset) {
    h5::read_range(file.descriptor(), *dataset.layout.offset, bytes, dataset.name);
  } else {
    file.read(dataset, Shape(shape.size(), 0), shape, bytes);
  }
}

void require_finite(const h5::Node& dataset, const AlignedVector<float>& values) {
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
    fail("{}: a number is NaN or infinite", dataset.name);
}

LayerCodebook read_layer(const h5::File& file, const h5::Node& layer, const Codebook& book) {
  const h5::Node& centroids = layer.dataset("centroids");
  const Shape& shape = centroids.layout.shape;
  if (shape.size() != 3 || shape[0] < 1 || shape[0] > most_heads || shape[2] < 1 ||
      shape[2] > most_head_dim || shape[2] % book.parts != 0)
    fail("{}: shape [{}] is not [KV heads, {} codes, a head dimension of {} equal parts]", centroids.name,
         fmt::join(shape, ", "), book.codes, book.parts);
  LayerCodebook made;
  made.kv_heads = static_cast<int>(shape[0]);
  made.head_dim = static_cast<int>(shape[2]);
  read_dataset(file, centroids, Element::f32, {shape[0], book.codes, shape[2]}, made.centroids);
  require_finite(centroids, made.centroids);
  const h5::Node& factor = layer.dataset("factor");
  read_dataset(file, factor, Element::f32, {shape[0], shape[2], shape[2]}, made.factor);
  require_finite(factor, made.factor);
  read_dataset(file, layer.dataset("count"), Element::i32, {shape[0], book.parts * book.codes}, made.count);
  return made;
}

int number_of(const std::string& name, const h5::Node& layers) {
  int number = -1;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  if (parsed.ec != std::errc() || number < 0 || number > 999999 || layer_name(number) != name)
    fail("{}: {:?} is not the number of a layer", layers.name, name);
  return number;
}

}  // namespace

void write_codebook(const std::string& path, const Codebook& codebook, std::span<const std::string> inputs) {
  PartFile file(path, inputs);
  try {
    file.clear();
    h5::write_image(objects_of(codebook), file.descriptor());
    file.publish();
  } catch (const Error& error) {
    file.discard();
    if (error.kind() != ErrorKind::data) throw;
    fail("cannot write {}: {}", path, error.what());
  }
}

Codebook read_codebook(const std::string& path) {
  const h5::File file(path);
  const h5::Node root = file.describe("/");
  root.require(h5::Node::Kind::group);
  const auto format = root.text("format");
  if (format != "anchor-codebook")
    fail("{}: not a codebook: attribute format is {}, not \"anchor-codebook\"", path,
         format ? fmt::format("{:?}", *format) : "missing");
  constexpr const char* metrics[] = {"query", "plain"};
  constexpr const char* ropes[] = {"windowed", "post"};
  Codebook book;
  book.codes = count_of(root, "codes", 1, most_codes);
  book.parts = count_of(root, "parts", 1, most_head_dim);
  book.b = count_of(root, "b", 0, most_tokens);
  book.metric = word_of(root, "metric", metrics);
  book.rope = word_of(root, "rope", ropes);
  book.model = root.text("model").value_or("");
  book.fitted_on = root.text("fitted_on").value_or("");
  const h5::Node layers = file.describe("layers");
  for (const auto& [name, unseen] : layers.require(h5::Node::Kind::group).children) {
    const h5::Node layer = file.describe("layers/" + name, 1);
    book.layers.emplace(number_of(name, layers),
                        read_layer(file, layer.require(h5::Node::Kind::group), book));
  }
  if (book.layers.empty()) fail("{}: it has no layer", layers.name);
  return book;
}

}  // namespace anchor
