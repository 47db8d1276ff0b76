// What the child process that reads HDF5 says of a file (data/hdf5/): the parent believes none of it.
#include <span>

#include "anchor/data/qkv_dump.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

namespace {

h5::Message message_of(std::string_view bytes) {
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  return h5::Message({data, data + bytes.size()});
}

/// Takes a node for each thing that it could be.
void use(const h5::File& file, const h5::Node& node) {
  test::accepted([&] { read_header(node); });
  test::accepted([&] { read_layer_info(file, node, "000"); });
  test::accepted([&] { file.require_stored(node); });
  if (node.layout.offset) test::accepted([&] { read_input_ids(file, node); });
  for (const auto& [name, child] : node.children) use(file, child);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const h5::File file(ANCHOR_TEST_DATA "/fuzz/dumps/contiguous.h5");
  h5::Message message = message_of(test::text_of(data, size));
  h5::Node node;
  if (!test::accepted([&] { node = h5::Node::take(message, "FILE: /", 3); })) return 0;
  use(file, node);
  h5::Message written;
  node.put(written);
  h5::Message read = written, again;
  h5::Node::take(read, "FILE: /", 3).put(again);
  test::demand(std::ranges::equal(written.bytes(), again.bytes()),
               "a description is read back as it was sent");
  return 0;
}
