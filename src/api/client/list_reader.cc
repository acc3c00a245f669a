#include "api/client/list_reader.h"

#include <utility>

namespace ocicat::api {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostDepth = 128;
constexpr std::string_view kBlanks = " \t\r\n";

std::unexpected<Error> no_list(std::string_view why) {
  return fail(ErrorCode::kUnavailable, "the server did not answer with a list: {}", why);
}

}  // namespace

ListReader::ListReader(Kind kind, TakeText take_text)
    : kind_(kind), take_text_(std::move(take_text)), parser_({}, {.max_depth = kMostDepth}) {}

Result<void> ListReader::feed(std::string_view data, const OnItem& on_item) {
  while (!data.empty()) {
    if (in_value_) {
      TRY_VOID(parse(data, on_item));
    } else if (kBlanks.find(data.front()) != std::string_view::npos) {
      data.remove_prefix(1);
    } else {
      TRY_VOID(take(data));
    }
  }
  return {};
}

// One sign between values; or a value begins, and nothing is taken.
Result<void> ListReader::take(std::string_view& data) {
  const char sign = data.front();
  const auto go_on = [&](At next) {
    data.remove_prefix(1);
    at_ = next;
    return Result<void>();
  };
  switch (at_) {
    case At::kStart:
      if (sign == '{') return go_on(At::kFirstName);
      break;
    case At::kFirstName:
      if (sign == '}') return go_on(At::kEnd);
      [[fallthrough]];
    case At::kName:
      if (sign != '"') break;
      at_ = At::kName;
      begin_value();
      return {};
    case At::kColon:
      if (sign == ':') return go_on(At::kMember);
      break;
    case At::kMember:
      if (name_ == "items") {
        if (std::exchange(has_items_, true)) return no_list("it has items twice");
        if (sign == '[') return go_on(At::kFirstItem);
      }
      begin_value();
      return {};
    case At::kFirstItem:
      if (sign == ']') return go_on(At::kAfterMember);
      [[fallthrough]];
    case At::kItem:
      at_ = At::kItem;
      if (const auto taken = take_text_ ? take_text_(data) : 0; taken > 0) {
        data.remove_prefix(taken);
        at_ = At::kAfterItem;
      } else {
        begin_value();
      }
      return {};
    case At::kAfterItem:
      if (sign == ',') return go_on(At::kItem);
      if (sign == ']') return go_on(At::kAfterMember);
      break;
    case At::kAfterMember:
      if (sign == ',') return go_on(At::kName);
      if (sign == '}') return go_on(At::kEnd);
      break;
    case At::kEnd:
      break;
  }
  return no_list(fmt::format("byte 0x{:02x} in the wrong place", static_cast<unsigned char>(sign)));
}

void ListReader::begin_value() {
  in_value_ = true;
  bytes_ = 0;
  memory_.emplace(first_memory_.data(), first_memory_.size());
  parser_.reset(&*memory_);
}

Result<void> ListReader::parse(std::string_view& data, const OnItem& on_item) {
  boost::system::error_code error;
  const auto read = parser_.write_some(data.data(), data.size(), error);
  if (error) return no_list(error.message());
  bytes_ += read;
  if (bytes_ > kMostBytes)
    return fail(ErrorCode::kExhausted, "something in the list is longer than {} bytes", kMostBytes);
  data.remove_prefix(read);
  if (!parser_.done()) return {};
  in_value_ = false;
  return take_value(parser_.release(), on_item);
}

Result<void> ListReader::take_value(json::value value, const OnItem& on_item) {
  switch (at_) {
    case At::kName:
      name_ = value.get_string();
      at_ = At::kColon;
      return {};
    case At::kMember:
      at_ = At::kAfterMember;
      return take_member(value);
    default:
      at_ = At::kAfterItem;
      return take_item(value, on_item);
  }
}

Result<void> ListReader::take_member(const json::value& value) {
  if (name_ == "items" && !value.is_null()) return no_list("its items are none");
  if (name_ != "metadata") return {};
  const auto* metadata = value.if_object();
  const auto* version = metadata == nullptr ? nullptr : metadata->if_contains("resourceVersion");
  if (version != nullptr && version->is_string()) resource_version_ = version->get_string();
  return {};
}

Result<void> ListReader::take_item(json::value& value, const OnItem& on_item) const {
  auto* item = value.if_object();
  if (item == nullptr) return no_list("an item is not an object");
  if (!item->contains("apiVersion")) (*item)["apiVersion"] = info(kind_).api_version();
  if (!item->contains("kind")) (*item)["kind"] = info(kind_).name;
  on_item(*item);
  return {};
}

Result<std::string> ListReader::end() const {
  if (at_ != At::kEnd) return no_list("it breaks off");
  if (!has_items_ || resource_version_.empty()) return no_list("it has no items, or no resourceVersion");
  return resource_version_;
}

}  // namespace ocicat::api
