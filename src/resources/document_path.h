// How a place inside a document is written: "spec.ingress[0].action", "metadata.labels[\"a/b\"]".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ocicat {

// Keys that are plain words follow a dot; any other key stands in brackets, as a JSON string.
void append_key(std::string& path, std::string_view key);
void append_index(std::string& path, std::size_t index);

// A place as a chain on the stack, so that walking a document costs no strings: the text is only made when
// there is something to complain about. A Place must outlive those built on it.
class Place {
 public:
  Place() = default;  // the document itself
  Place(const Place& parent, std::string_view key) : parent_(&parent), key_(key) {}
  Place(const Place& parent, std::size_t index) : parent_(&parent), index_(index), is_item_(true) {}

  std::string to_string() const;

 private:
  void append_to(std::string& path) const;

  const Place* parent_ = nullptr;
  std::string_view key_;
  std::size_t index_ = 0;
  bool is_item_ = false;
};

}  // namespace ocicat
