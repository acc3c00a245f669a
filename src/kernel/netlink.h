// A netlink socket: the only door to the kernel's networking besides /proc/sys.
//
//   threads   one at a time
//   errors    what the kernel answers, as Error; ENOBUFS from a subscription means "messages were lost"
#pragma once

#include <linux/netlink.h>

#include <boost/container/small_vector.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/message.h"

struct mnl_socket;
struct sock_filter;

namespace ocicat::kernel {

// One message received, valid during the call it is given to.
using MessageView = const nlmsghdr&;

// The protocol's own header, behind netlink's.
template <class Header>
const Header& header_of(MessageView message) {
  return *reinterpret_cast<const Header*>(&message + 1);
}

// The attributes of a message or of a nest, by type; nullptr where absent. Types of the kernel that are newer
// than `Max` are left out.
class Attributes {
 public:
  Attributes(const void* first, std::size_t size, std::size_t max);
  static Attributes of_message(MessageView message, std::size_t protocol_header_size, std::size_t max);
  static Attributes of_nest(const nlattr* nest, std::size_t max);

  const nlattr* operator[](std::size_t type) const { return type < found_.size() ? found_[type] : nullptr; }
  bool has(std::size_t type) const { return (*this)[type] != nullptr; }
  // Empty, or 0, where absent or too short.
  std::span<const std::uint8_t> bytes(std::size_t type) const;
  std::string_view text(std::size_t type) const;
  std::uint32_t u32(std::size_t type) const;
  std::uint32_t be32(std::size_t type) const;
  std::uint64_t be64(std::size_t type) const;

 private:
  boost::container::small_vector<const nlattr*, 32> found_;  // most messages have no more types
};

std::span<const std::uint8_t> payload(const nlattr* attribute);
void for_each_attribute(const nlattr* nest, const std::function<void(const nlattr*)>& visit);

// An answer to one message of a request.
struct Acknowledgement {
  std::uint32_t sequence = 0;
  int error_number = 0;                // 0: done
  std::string text;                    // the kernel's own words, where it has any
  std::uint32_t attribute_offset = 0;  // from the refused message's start to the attribute refused, if told
};

// Of a whole message of type NLMSG_ERROR. One too short to be an answer says EBADMSG; sizes inside that do
// not fit leave out the kernel's words.
Acknowledgement acknowledgement_of(MessageView message);

class NetlinkSocket {
 public:
  // `bus` as NETLINK_ROUTE or NETLINK_NETFILTER; in the network namespace of the calling thread.
  static Result<NetlinkSocket> open(int bus);
  NetlinkSocket(NetlinkSocket&&) noexcept;
  NetlinkSocket& operator=(NetlinkSocket&&) noexcept;
  ~NetlinkSocket();

  int fd() const;
  std::uint32_t port() const;
  std::uint32_t next_sequence() { return ++sequence_; }
  // All numbers up to this one have been used.
  void sequence_used(std::uint32_t last) { sequence_ = last; }

  Result<void> join(unsigned group);
  // Beyond the system's limits (root).
  Result<void> receive_buffer(int bytes);
  Result<void> send_buffer(int bytes);
  // The kernel then drops, unread, what changes of these other sockets cause.
  Result<void> ignore_changes_of(const std::vector<std::uint32_t>& other_ports);
  // The kernel then drops, unread, all but messages of this type whose protocol's header has one of these numbers at that
  // place; nothing: whichever.
  Result<void> hear_of(std::uint16_t type, std::size_t place, const std::optional<std::set<int>>& numbers);

  Result<void> send(ByteView messages);
  // Sends, and gives every acknowledgement that is there when the kernel is done: it works while it is
  // called.
  Result<std::vector<Acknowledgement>> request(ByteView messages);
  // Sends one message that changes something. `what` names it where the kernel refuses, with any other number
  // than `harmless`.
  Result<void> change(const MessageBuilder& message, const std::string& what, int harmless = 0);
  // Sends one message, and gives every answer but the acknowledgement. kUnavailable: interrupted by a change,
  // try again.
  Result<void> query(ByteView message, const std::function<void(MessageView)>& visit);
  // What has arrived, without waiting, in at most so many datagrams: who writes faster than we read would else keep us.
  // kExhausted: messages were lost.
  Result<void> receive_waiting(const std::function<void(MessageView)>& visit,
                               std::size_t most = std::numeric_limits<std::size_t>::max());

 private:
  explicit NetlinkSocket(mnl_socket* socket);
  Result<void> filter(std::vector<sock_filter> code);

  struct Close {
    void operator()(mnl_socket* socket) const;
  };
  std::unique_ptr<mnl_socket, Close> socket_;
  std::vector<std::uint8_t> buffer_;
  std::uint32_t sequence_ = 0;
};

}  // namespace ocicat::kernel
