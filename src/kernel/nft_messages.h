// nf_tables' netlink messages: a Batch to bytes, and answers back to values.
#pragma once

#include <map>
#include <string>

#include "kernel/message.h"
#include "kernel/netlink.h"
#include "kernel/nft.h"

namespace ocicat::kernel::nft {

// A whole transaction in one buffer. Every message has its own sequence number, so an error can be named.
class BatchMessages {
 public:
  // Numbers messages from `first_sequence` on.
  BatchMessages(std::string_view table, const Batch& batch, std::uint32_t first_sequence);

  ByteView bytes() const { return messages_.bytes(); }
  std::uint32_t last_sequence() const { return sequence_; }
  // The message that carries the only acknowledgement of success.
  std::uint32_t acknowledged_sequence() const { return acknowledged_; }
  // "add to set classes4: element 0a000001". `attribute_offset` from the message's start, 0 if unknown.
  std::string describe(std::uint32_t sequence, std::uint32_t attribute_offset) const;

 private:
  void add(const Operation& operation);
  void begin(std::uint16_t message, std::uint16_t flags);
  void put_set(const Set& set);
  void put_chain(const Chain& chain);
  void put_elements(std::uint16_t message, std::uint16_t flags, const Set& set,
                    const std::vector<Element>& elements);
  void put_element(const Set& set, const Element& element);

  struct Position {
    std::size_t offset = 0;
    std::string_view verb;
    std::string name;
  };
  MessageBuilder messages_;
  std::string table_;
  std::map<std::uint32_t, Position> positions_;
  std::uint32_t sequence_;
  std::uint32_t acknowledged_ = 0;
  std::uint32_t next_set_id_ = 1;
};

std::vector<std::uint8_t> list_request(std::uint16_t message, std::string_view table, std::string_view set,
                                       std::uint32_t sequence);
// Each reads one message of the answer, and adds it.
void read_set(MessageView message, std::string_view table, Shape& shape);
void read_chain(MessageView message, std::string_view table, Shape& shape);
void read_rule(MessageView message, std::string_view table, Shape& shape);
void read_elements(MessageView message, const Set& set, std::vector<Element>& elements);
// The table that a change reported by the kernel concerns; empty where it concerns none.
std::string_view table_of(MessageView message);

}  // namespace ocicat::kernel::nft
