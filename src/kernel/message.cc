#include "kernel/message.h"

#include "base/result.h"

namespace ocicat::kernel {
namespace {

constexpr std::size_t kMaxAttribute = 65535;

std::size_t aligned(std::size_t size) {
  return (size + 3) & ~std::size_t{3};
}

}  // namespace

void MessageBuilder::append(const void* bytes, std::size_t size) {
  const std::size_t at = bytes_.size();
  bytes_.resize(at + aligned(size));
  if (size != 0) std::memcpy(bytes_.data() + at, bytes, size);
}

void MessageBuilder::begin_message(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence) {
  message_start_ = bytes_.size();
  ++messages_;
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = sequence;
  append(&header, sizeof header);
}

void MessageBuilder::end() {
  const auto length = static_cast<std::uint32_t>(bytes_.size() - message_start_);
  std::memcpy(bytes_.data() + message_start_, &length, sizeof length);
}

void MessageBuilder::add_flags(std::size_t start, std::uint16_t flags) {
  nlmsghdr header{};
  CHECK(start + sizeof header <= bytes_.size());
  std::memcpy(&header, bytes_.data() + start, sizeof header);
  header.nlmsg_flags |= flags;
  std::memcpy(bytes_.data() + start, &header, sizeof header);
}

void MessageBuilder::put_raw(std::uint16_t type, const void* bytes, std::size_t size) {
  CHECK(size + sizeof(nlattr) <= kMaxAttribute);
  const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + size), type};
  append(&header, sizeof header);
  append(bytes, size);
}

void MessageBuilder::put_be64(std::uint16_t type, std::uint64_t value) {
  const std::uint64_t swapped = __builtin_bswap64(value);
  put_raw(type, &swapped, sizeof swapped);
}

void MessageBuilder::put_string(std::uint16_t type, std::string_view text) {
  std::vector<char> terminated(text.begin(), text.end());
  terminated.push_back('\0');
  put_raw(type, terminated.data(), terminated.size());
}

std::size_t MessageBuilder::begin_nest(std::uint16_t type) {
  const std::size_t start = bytes_.size();
  const nlattr header{0, static_cast<std::uint16_t>(type | NLA_F_NESTED)};
  append(&header, sizeof header);
  return start;
}

void MessageBuilder::end_nest(std::size_t start) {
  const std::size_t size = bytes_.size() - start;
  CHECK(size <= kMaxAttribute);
  const auto length = static_cast<std::uint16_t>(size);
  std::memcpy(bytes_.data() + start, &length, sizeof length);
}

}  // namespace ocicat::kernel
