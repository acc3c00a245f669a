// A decision table: intervals of keys, each with what answers there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <span>

#include "base/shared_bytes.h"
#include "policy/verdict.h"

namespace ocicat::policy {

enum class TableId : std::uint32_t {};
enum class OutcomeId : std::uint32_t {};

// The key space of a table, in lexicographic order: the protocol, then what that protocol is told apart by.
//   TCP, UDP, SCTP, UDPLite   destination port
//   ICMP, ICMPv6              type * 256 + code
//   others                    0
constexpr std::uint32_t table_key(Protocol protocol, std::uint16_t detail) {
  return std::uint32_t{protocol} << 16 | detail;
}
inline constexpr std::uint32_t kLastTableKey = 0xffffff;
std::uint32_t table_key(const Packet& packet);

struct Interval {
  std::uint32_t first = 0;  // table_key(), both ends included
  std::uint32_t last = 0;
  OutcomeId outcome{};     // 0 where source_ports is set
  TableId source_ports{};  // 0, or a table whose keys are plain source ports, 0 to 65535

  bool same_answer(const Interval& other) const {
    return outcome == other.outcome && source_ports == other.source_ports;
  }
  bool operator==(const Interval&) const = default;
};

// Disjoint, ascending intervals; neighbours with the same answer are one. Never changes, and copies share
// what it holds: a host may have millions of intervals, and they are in the engine, in what waits for the
// datapath, and there.
//
//   memory   two bytes for an interval of one port that is near another, as the numbers of their outcomes
//            are; at most 13; and eight for every sixteen
//   cost     find() and from() O(log size), walking through O(size)
class Table {
 public:
  Table() = default;  // no interval
  explicit Table(std::span<const Interval> intervals);
  Table(std::initializer_list<Interval> intervals) : Table(std::span(intervals)) {}

  // Walks through intervals. Valid as long as a copy of the table is there.
  class Iterator {
   public:
    using value_type = Interval;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;
    const Interval& operator*() const { return interval_; }
    const Interval* operator->() const { return &interval_; }
    Iterator& operator++() {
      if (--left_ > 0) read();
      return *this;
    }
    Iterator operator++(int) {
      auto before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const { return left_ == other.left_; }
    bool operator==(std::default_sentinel_t) const { return left_ == 0; }

   private:
    friend class Table;
    // At the beginning of a block.
    Iterator(const std::uint8_t* at, std::uint32_t left) : at_(at), left_(left) {
      if (left_ > 0) read();
    }
    void read();

    const std::uint8_t* at_ = nullptr;  // behind the interval
    std::uint32_t left_ = 0;            // intervals, this one included
    std::uint32_t in_block_ = 0;        // intervals of the block that have been read
    std::uint32_t outcome_ = 0;         // the last one named in the block
    std::uint32_t source_ports_ = 0;    // the same
    Interval interval_;
  };
  Iterator begin() const { return block(0); }
  std::default_sentinel_t end() const { return {}; }
  // The first interval that does not end before the key.
  Iterator from(std::uint32_t key) const;
  // The interval that holds the key.
  std::optional<Interval> find(std::uint32_t key) const;

  std::size_t size() const;
  bool empty() const { return packed_.bytes().empty(); }
  // The same bytes mean the same intervals, and the other way round.
  std::span<const std::uint8_t> bytes() const { return packed_.bytes(); }
  bool operator==(const Table&) const = default;

 private:
  Iterator block(std::size_t number) const;

  SharedBytes packed_;  // as in table.cc
};

}  // namespace ocicat::policy
