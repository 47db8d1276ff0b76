#include "anchor/data/hdf5/node.hpp"

#include <limits>

#include "anchor/base/error.hpp"

namespace anchor::h5 {
namespace {

// More axes, members or attributes than any dump has: a description that says so was made up.
constexpr std::uint64_t most_axes = 32, most_entries = 100'000;

std::uint64_t take_count(Message& message, std::uint64_t most) {
  const std::uint64_t count = message.take_number();
  if (count > most) fail("the description of the file is damaged");
  return count;
}

void put(Message& message, const Value& value) {
  message.put(std::uint64_t{value.index()});
  if (const auto* text = std::get_if<std::string>(&value)) message.put(*text);
  if (const auto* whole = std::get_if<std::int64_t>(&value)) message.put(static_cast<std::uint64_t>(*whole));
  if (const auto* natural = std::get_if<std::uint64_t>(&value)) message.put(*natural);
  if (const auto* number = std::get_if<double>(&value)) message.put(*number);
  if (const auto* unusable = std::get_if<Unusable>(&value)) message.put(unusable->reason);
}

Value take_value(Message& message) {
  switch (message.take_number()) {
    case 0:
      return message.take_text();
    case 1:
      return static_cast<std::int64_t>(message.take_number());
    case 2:
      return message.take_number();
    case 3:
      return message.take_real();
    default:
      return Unusable{printable(message.take_text())};
  }
}

void put(Message& message, const DatasetLayout& layout) {
  message.put(std::uint64_t{layout.shape.size()});
  for (const std::int64_t extent : layout.shape) message.put(static_cast<std::uint64_t>(extent));
  message.put(static_cast<std::uint64_t>(layout.element));
  message.put(layout.type_text);
  message.put(layout.text);
  message.put(layout.stored_bytes);
  message.put(static_cast<std::uint64_t>(layout.offset.value_or(-1)));
  message.put(layout.chunk_bytes);
  message.put(layout.chunks);
  message.put(layout.chunks_needed);
  message.put(std::uint64_t{layout.deflated});
}

DatasetLayout take_layout(Message& message) {
  DatasetLayout layout;
  layout.shape.resize(take_count(message, most_axes));
  for (std::int64_t& extent : layout.shape) extent = static_cast<std::int64_t>(message.take_number());
  layout.element = static_cast<Element>(take_count(message, static_cast<std::uint64_t>(Element::other)));
  layout.type_text = message.take_text();
  layout.text = message.take_text();
  layout.stored_bytes = message.take_number();
  if (const auto offset = static_cast<std::int64_t>(message.take_number()); offset >= 0)
    layout.offset = offset;
  layout.chunk_bytes = message.take_number();
  layout.chunks = message.take_number();
  layout.chunks_needed = message.take_number();
  layout.deflated = message.take_number() != 0;
  return layout;
}

}  // namespace

std::uint64_t size_of(Element element) {
  switch (element) {
    case Element::f32:
    case Element::i32:
      return 4;
    case Element::f16:
    case Element::bf16:
    case Element::u16:
      return 2;
    case Element::other:
      break;
  }
  return 0;
}

const Value* Node::value(const std::string& attribute) const {
  const auto found = attributes.find(attribute);
  if (found == attributes.end()) return nullptr;
  if (const auto* unusable = std::get_if<Unusable>(&found->second)) {
    fail("{}: attribute {} {}", name, attribute, unusable->reason);
  }
  return &found->second;
}

std::optional<std::string> Node::text(const std::string& attribute) const {
  const Value* found = value(attribute);
  if (found == nullptr) return std::nullopt;
  if (const auto* held = std::get_if<std::string>(found)) return *held;
  fail("{}: attribute {} must be a string", name, attribute);
}

std::optional<std::int64_t> Node::integer(const std::string& attribute) const {
  const Value* found = value(attribute);
  if (found == nullptr) return std::nullopt;
  if (const auto* held = std::get_if<std::int64_t>(found)) return *held;
  if (const auto* held = std::get_if<std::uint64_t>(found)) {
    if (*held <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return static_cast<std::int64_t>(*held);
  }
  fail("{}: attribute {} must be an integer", name, attribute);
}

std::optional<std::uint64_t> Node::unsigned_integer(const std::string& attribute) const {
  const Value* found = value(attribute);
  if (found == nullptr) return std::nullopt;
  if (const auto* held = std::get_if<std::uint64_t>(found)) return *held;
  if (const auto* held = std::get_if<std::int64_t>(found); held != nullptr && *held >= 0)
    return static_cast<std::uint64_t>(*held);
  fail("{}: attribute {} must be an integer, not negative", name, attribute);
}

std::optional<double> Node::real(const std::string& attribute) const {
  const Value* found = value(attribute);
  if (found == nullptr) return std::nullopt;
  if (const auto* held = std::get_if<double>(found)) return *held;
  if (const auto* held = std::get_if<std::int64_t>(found)) return static_cast<double>(*held);
  if (const auto* held = std::get_if<std::uint64_t>(found)) return static_cast<double>(*held);
  fail("{}: attribute {} must be a number", name, attribute);
}

const Node* Node::find(const std::string& path) const {
  const auto slash = path.find('/');
  const auto found = children.find(path.substr(0, slash));
  if (found == children.end()) return nullptr;
  if (slash == std::string::npos || found->second.kind == Kind::unusable) return &found->second;
  return found->second.find(path.substr(slash + 1));
}

bool Node::has(const std::string& path) const { return find(path) != nullptr; }

const Node& Node::require(Kind wanted) const {
  if (kind == Kind::unusable) fail("{}: {}", name, error);
  if (kind != wanted) fail("{}: it must be a {}", name, wanted == Kind::group ? "group" : "dataset");
  return *this;
}

const Node& Node::group(const std::string& path) const {
  const Node* found = find(path);
  if (found == nullptr) fail("{}{}{}: no such group", name, name.ends_with('/') ? "" : "/", path);
  return found->require(Kind::group);
}

const Node& Node::dataset(const std::string& path) const {
  const Node* found = find(path);
  if (found == nullptr) fail("{}{}{}: no such dataset", name, name.ends_with('/') ? "" : "/", path);
  return found->require(Kind::dataset);
}

void Node::put(Message& message) const {
  message.put(static_cast<std::uint64_t>(kind));
  message.put(error);
  message.put(address);
  message.put(std::uint64_t{attributes.size()});
  for (const auto& [key, held] : attributes) {
    message.put(key);
    h5::put(message, held);
  }
  if (kind == Kind::dataset) h5::put(message, layout);
  message.put(std::uint64_t{children.size()});
  for (const auto& [key, child] : children) {
    message.put(key);
    child.put(message);
  }
}

Node Node::take(Message& message, const std::string& name, int depth) {
  if (depth < 0) fail("the description of the file is damaged");
  Node node;
  node.name = name;
  node.kind = static_cast<Kind>(take_count(message, static_cast<std::uint64_t>(Kind::unseen)));
  node.error = printable(message.take_text());
  node.address = message.take_number();
  for (std::uint64_t left = take_count(message, most_entries); left > 0; --left) {
    const std::string key = message.take_text();
    node.attributes[key] = take_value(message);
  }
  if (node.kind == Kind::dataset) node.layout = take_layout(message);
  for (std::uint64_t left = take_count(message, most_entries); left > 0; --left) {
    const std::string key = message.take_text();
    node.children[key] = take(message, name + (name.ends_with('/') ? "" : "/") + printable(key), depth - 1);
  }
  return node;
}

}  // namespace anchor::h5
