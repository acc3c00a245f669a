// A list, read as it comes: no more of it is held than the item under way.
//
//   {"metadata":{"resourceVersion":"7"},"items":[{…},{…}]}, members in any order, others passed over
//
//   memory   one item, or one other member of the list; each of bounded size
//   cost     one pass over the text, wherever it is cut into pieces
#pragma once

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/object.hpp>
#include <boost/json/stream_parser.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "resources/kinds.h"

namespace ocicat::api {

class ListReader {
 public:
  static constexpr std::size_t kMostBytes = 32 * 1024 * 1024;  // of an item

  // Called for each item, complete with apiVersion and kind, which Kubernetes leaves out of those in lists.
  // The object is gone when it returns, and a copy needs a storage_ptr of its own. That items came says nothing about the list: it may break off yet.
  using OnItem = std::function<void(const boost::json::object& item)>;

  // Called before that with the text from where an item begins, as far as it has come: how many bytes of it are an
  // item that has been taken. 0: it is to be parsed.
  using TakeText = std::function<std::size_t(std::string_view text)>;

  // `take_text` may be empty.
  explicit ListReader(Kind kind, TakeText take_text = {});
  ListReader(const ListReader&) = delete;
  ListReader& operator=(const ListReader&) = delete;

  // The next piece of the text. kUnavailable: this is no list; kExhausted: something in it is too long. Not
  // to be called again after an error.
  Result<void> feed(std::string_view data, const OnItem& on_item);
  // The text has ended: metadata.resourceVersion, to watch from. kUnavailable: it is no whole list.
  Result<std::string> end() const;

 private:
  // What may come next, blanks apart.
  enum class At : std::uint8_t {
    kStart,
    kFirstName,  // or the end of the list
    kName,
    kColon,
    kMember,
    kFirstItem,  // or the end of the items
    kItem,
    kAfterItem,
    kAfterMember,
    kEnd,
  };

  Result<void> take(std::string_view& data);
  Result<void> parse(std::string_view& data, const OnItem& on_item);
  void begin_value();
  Result<void> take_value(boost::json::value value, const OnItem& on_item);
  Result<void> take_member(const boost::json::value& value);
  Result<void> take_item(boost::json::value& value, const OnItem& on_item) const;

  const Kind kind_;
  const TakeText take_text_;
  At at_ = At::kStart;
  bool in_value_ = false;  // of a name, a member or an item; which, says at_
  std::size_t bytes_ = 0;  // of that value
  bool has_items_ = false;
  std::string name_;
  std::string resource_version_;

  std::array<unsigned char, 16 * 1024> first_memory_;
  std::optional<boost::json::monotonic_resource> memory_;  // made anew for each value, as it grows with each
  boost::json::stream_parser parser_;
};

}  // namespace ocicat::api
