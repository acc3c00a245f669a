// How a table is packed:
//
//   how many intervals there are                                   varint
//   for each block of kBlock intervals but the first:
//     first key, place of the block from the beginning             two numbers of 32 bits, as the machine has
//     them
//   for each interval:
//     keys between the one before and this, shifted by two;
//       bit 0: it has more than one key; bit 1: it leads on        varint
//     keys that it has beyond two, where bit 0 is set              varint
//     outcome, or second table: difference from the last of
//       these, signed, the sign in bit 0                           varint
//
// A block begins as if key 0, outcome 0 and table 0 had been before it.
#include "policy/table.h"

#include <cstring>
#include <vector>

#include "base/result.h"
#include "base/varint.h"

namespace ocicat::policy {

namespace {

constexpr std::uint32_t kBlock = 16;
constexpr std::uint32_t kHasMore = 1;
constexpr std::uint32_t kLeadsOn = 2;

struct BlockEntry {
  std::uint32_t first;
  std::uint32_t offset;
};

std::uint32_t with_sign_last(std::uint32_t difference) {
  return difference << 1 ^ (difference >> 31 != 0 ? ~0U : 0U);
}

std::uint32_t with_sign_first(std::uint32_t difference) {
  return difference >> 1 ^ (0U - (difference & 1));
}

std::uint32_t blocks_of(std::uint32_t size) {
  return (size + kBlock - 1) / kBlock;
}

// Writes intervals one after the other.
class Packer {
 public:
  explicit Packer(std::vector<std::uint8_t>& bytes) : bytes_(bytes) {}

  void begin_block() { next_ = outcome_ = source_ports_ = 0; }
  void add(const Interval& interval) {
    CHECK(interval.first >= next_ && interval.first <= interval.last && interval.last <= kLastTableKey);
    const bool leads_on = interval.source_ports != TableId{};
    const bool has_more = interval.first < interval.last;
    append_varint((interval.first - next_) << 2 | (leads_on ? kLeadsOn : 0) | (has_more ? kHasMore : 0),
                  bytes_);
    if (has_more) append_varint(interval.last - interval.first - 1, bytes_);
    auto& before = leads_on ? source_ports_ : outcome_;
    const auto now = leads_on ? static_cast<std::uint32_t>(interval.source_ports)
                              : static_cast<std::uint32_t>(interval.outcome);
    append_varint(with_sign_last(now - before), bytes_);
    before = now;
    next_ = interval.last + 1;
  }

 private:
  std::vector<std::uint8_t>& bytes_;
  std::uint32_t next_ = 0;
  std::uint32_t outcome_ = 0;
  std::uint32_t source_ports_ = 0;
};

}  // namespace

Table::Table(std::span<const Interval> intervals) {
  if (intervals.empty()) return;
  thread_local std::vector<std::uint8_t> bytes;  // their memory serves the next table
  bytes.clear();
  append_varint(static_cast<std::uint32_t>(intervals.size()), bytes);
  const auto index = bytes.size();
  bytes.resize(index + sizeof(BlockEntry) * (blocks_of(static_cast<std::uint32_t>(intervals.size())) - 1));
  Packer packer(bytes);
  for (std::size_t i = 0; i < intervals.size(); ++i) {
    if (i % kBlock == 0) packer.begin_block();
    if (i % kBlock == 0 && i > 0) {
      const BlockEntry entry{intervals[i].first, static_cast<std::uint32_t>(bytes.size())};
      std::memcpy(bytes.data() + index + (i / kBlock - 1) * sizeof entry, &entry, sizeof entry);
    }
    packer.add(intervals[i]);
  }
  packed_ = SharedBytes(bytes);
}

void Table::Iterator::read() {
  if (in_block_ == kBlock) {
    in_block_ = 0;
    outcome_ = source_ports_ = 0;
  }
  const auto next = in_block_++ == 0 ? 0 : interval_.last + 1;
  const auto head = read_varint(at_);
  interval_.first = next + (head >> 2);
  interval_.last = interval_.first;
  if (head & kHasMore) interval_.last += 1 + read_varint(at_);
  const auto difference = with_sign_first(read_varint(at_));
  if (head & kLeadsOn) {
    source_ports_ += difference;
    interval_.outcome = {};
    interval_.source_ports = TableId{source_ports_};
  } else {
    outcome_ += difference;
    interval_.outcome = OutcomeId{outcome_};
    interval_.source_ports = {};
  }
}

std::size_t Table::size() const {
  if (empty()) return 0;
  const auto* at = bytes().data();
  return read_varint(at);
}

Table::Iterator Table::block(std::size_t number) const {
  if (empty()) return {};
  const auto* at = bytes().data();
  const auto size = read_varint(at);
  if (number == 0) return {at + sizeof(BlockEntry) * (blocks_of(size) - 1), size};
  BlockEntry entry{};
  std::memcpy(&entry, at + sizeof entry * (number - 1), sizeof entry);
  return {bytes().data() + entry.offset, size - static_cast<std::uint32_t>(number) * kBlock};
}

Table::Iterator Table::from(std::uint32_t key) const {
  if (empty()) return {};
  const auto* index = bytes().data();
  const auto size = read_varint(index);
  // The last block that does not begin behind the key.
  std::size_t begin = 0;
  for (std::size_t end = blocks_of(size); begin + 1 < end;) {
    const auto middle = (begin + end) / 2;
    BlockEntry entry{};
    std::memcpy(&entry, index + sizeof entry * (middle - 1), sizeof entry);
    (entry.first <= key ? begin : end) = middle;
  }
  auto at = block(begin);
  while (at != end() && at->last < key) ++at;
  return at;
}

std::optional<Interval> Table::find(std::uint32_t key) const {
  const auto at = from(key);
  if (at == end() || key < at->first) return std::nullopt;
  return *at;
}

std::uint32_t table_key(const Packet& packet) {
  switch (packet.protocol) {
    case kTcp:
    case kUdp:
    case kSctp:
    case kUdpLite:
      return table_key(packet.protocol, packet.destination_port);
    case kIcmp:
    case kIcmpV6:
      return table_key(packet.protocol, static_cast<std::uint16_t>(packet.icmp_type << 8 | packet.icmp_code));
    default:
      return table_key(packet.protocol, 0);
  }
}

}  // namespace ocicat::policy
