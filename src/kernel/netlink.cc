#include "kernel/netlink.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>

namespace ocicat::kernel {
namespace {

// A dump answers in pieces of up to 32 KiB; a piece must fit whole.
constexpr std::size_t kReceiveSize = 256 * 1024;

// What a filter answers. It loads numbers in network order; those of the header are in the machine's.
constexpr auto kDropAll = std::uint32_t{0}, kTakeAll = ~std::uint32_t{0};

}  // namespace

Acknowledgement acknowledgement_of(MessageView message) {
  const std::size_t size = mnl_nlmsg_get_payload_len(&message);
  if (size < sizeof(nlmsgerr)) return {message.nlmsg_seq, EBADMSG, {}, 0};
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(&message));
  Acknowledgement ack{message.nlmsg_seq, -error->error, {}, 0};
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return ack;
  std::size_t skip = sizeof(nlmsgerr);
  if ((message.nlmsg_flags & NLM_F_CAPPED) == 0 && error->msg.nlmsg_len > sizeof(nlmsghdr)) {
    skip += MNL_ALIGN(error->msg.nlmsg_len - sizeof(nlmsghdr));
  }
  if (skip >= size) return ack;
  const Attributes attributes(reinterpret_cast<const std::uint8_t*>(error) + skip, size - skip,
                              NLMSGERR_ATTR_MAX + 1);
  ack.text = attributes.text(NLMSGERR_ATTR_MSG);
  ack.attribute_offset = attributes.u32(NLMSGERR_ATTR_OFFS);
  return ack;
}

Attributes::Attributes(const void* first, std::size_t size, std::size_t max) : found_(max) {
  const auto* at = static_cast<const nlattr*>(first);
  auto left = static_cast<int>(size);
  while (left > 0 && mnl_attr_ok(at, left)) {
    const std::uint16_t type = mnl_attr_get_type(at);
    if (type < found_.size()) found_[type] = at;
    left -= static_cast<int>(MNL_ALIGN(at->nla_len));
    at = mnl_attr_next(at);
  }
}

Attributes Attributes::of_message(MessageView message, std::size_t protocol_header_size, std::size_t max) {
  const std::size_t skip = MNL_ALIGN(protocol_header_size);
  const std::size_t size = mnl_nlmsg_get_payload_len(&message);
  if (size < skip) return Attributes(nullptr, 0, max);
  return Attributes(static_cast<const std::uint8_t*>(mnl_nlmsg_get_payload(&message)) + skip, size - skip,
                    max);
}

Attributes Attributes::of_nest(const nlattr* nest, std::size_t max) {
  if (nest == nullptr) return Attributes(nullptr, 0, max);
  return Attributes(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), max);
}

std::span<const std::uint8_t> payload(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  return {static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute)),
          mnl_attr_get_payload_len(attribute)};
}

std::span<const std::uint8_t> Attributes::bytes(std::size_t type) const {
  return payload((*this)[type]);
}

std::string_view Attributes::text(std::size_t type) const {
  const auto raw = bytes(type);
  const auto* start = reinterpret_cast<const char*>(raw.data());
  return {start, raw.empty() ? 0 : strnlen(start, raw.size())};
}

std::uint32_t Attributes::u32(std::size_t type) const {
  std::uint32_t value = 0;
  if (const auto raw = bytes(type); raw.size() >= sizeof value) std::memcpy(&value, raw.data(), sizeof value);
  return value;
}

std::uint32_t Attributes::be32(std::size_t type) const {
  return __builtin_bswap32(u32(type));
}

std::uint64_t Attributes::be64(std::size_t type) const {
  std::uint64_t value = 0;
  if (const auto raw = bytes(type); raw.size() >= sizeof value) std::memcpy(&value, raw.data(), sizeof value);
  return __builtin_bswap64(value);
}

void for_each_attribute(const nlattr* nest, const std::function<void(const nlattr*)>& visit) {
  if (nest == nullptr) return;
  const auto* at = static_cast<const nlattr*>(mnl_attr_get_payload(nest));
  auto left = static_cast<int>(mnl_attr_get_payload_len(nest));
  while (left > 0 && mnl_attr_ok(at, left)) {
    visit(at);
    left -= static_cast<int>(MNL_ALIGN(at->nla_len));
    at = mnl_attr_next(at);
  }
}

void NetlinkSocket::Close::operator()(mnl_socket* socket) const {
  mnl_socket_close(socket);
}
NetlinkSocket::NetlinkSocket(mnl_socket* socket) : socket_(socket), buffer_(kReceiveSize) {}
NetlinkSocket::NetlinkSocket(NetlinkSocket&&) noexcept = default;
NetlinkSocket& NetlinkSocket::operator=(NetlinkSocket&&) noexcept = default;
NetlinkSocket::~NetlinkSocket() = default;

Result<NetlinkSocket> NetlinkSocket::open(int bus) {
  mnl_socket* raw = mnl_socket_open2(bus, SOCK_CLOEXEC);
  if (raw == nullptr) return fail_errno("netlink socket", errno);
  NetlinkSocket socket(raw);
  if (mnl_socket_bind(raw, 0, MNL_SOCKET_AUTOPID) < 0) return fail_errno("bind netlink socket", errno);
  int on = 1;
  // Errors without a copy of what was sent, with the kernel's words; dumps checked and filtered in the
  // kernel.
  mnl_socket_setsockopt(raw, NETLINK_CAP_ACK, &on, sizeof on);
  mnl_socket_setsockopt(raw, NETLINK_EXT_ACK, &on, sizeof on);
  if (bus == NETLINK_ROUTE) mnl_socket_setsockopt(raw, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  return socket;
}

int NetlinkSocket::fd() const {
  return mnl_socket_get_fd(socket_.get());
}
std::uint32_t NetlinkSocket::port() const {
  return mnl_socket_get_portid(socket_.get());
}

Result<void> NetlinkSocket::join(unsigned group) {
  if (mnl_socket_setsockopt(socket_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) {
    return fail_errno("join netlink group", errno);
  }
  return {};
}

Result<void> NetlinkSocket::receive_buffer(int bytes) {
  if (setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0) {
    return fail_errno("SO_RCVBUFFORCE", errno);
  }
  return {};
}

Result<void> NetlinkSocket::send_buffer(int bytes) {
  if (setsockopt(fd(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0) {
    return fail_errno("SO_SNDBUFFORCE", errno);
  }
  return {};
}

Result<void> NetlinkSocket::filter(std::vector<sock_filter> code) {
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (setsockopt(fd(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) {
    return fail_errno("SO_ATTACH_FILTER", errno);
  }
  return {};
}

Result<void> NetlinkSocket::ignore_changes_of(const std::vector<std::uint32_t>& other_ports) {
  std::vector<sock_filter> code{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(nlmsghdr, nlmsg_pid))};
  for (const auto port : other_ports) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htobe32(port), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, kDropAll));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, kTakeAll));
  return filter(std::move(code));
}

Result<void> NetlinkSocket::hear_of(std::uint16_t type, std::size_t place,
                                    const std::optional<std::set<int>>& numbers) {
  const auto at = static_cast<std::uint32_t>(sizeof(nlmsghdr) + place);
  std::vector<sock_filter> code{BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(nlmsghdr, nlmsg_type)),
                                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htobe16(type), 1, 0),
                                BPF_STMT(BPF_RET | BPF_K, kDropAll), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)};
  for (const auto number : numbers.value_or(std::set<int>())) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htobe32(static_cast<std::uint32_t>(number)), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, kTakeAll));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, numbers ? kDropAll : kTakeAll));
  return filter(std::move(code));
}

Result<void> NetlinkSocket::send(ByteView messages) {
  const ssize_t sent = mnl_socket_sendto(socket_.get(), messages.data(), messages.size());
  if (sent < 0) return fail_errno("send to netlink", errno);
  return {};
}

Result<std::vector<Acknowledgement>> NetlinkSocket::request(ByteView messages) {
  TRY_VOID(send(messages));
  std::vector<Acknowledgement> acks;
  TRY_VOID(receive_waiting([&](MessageView message) {
    if (message.nlmsg_type == NLMSG_ERROR) acks.push_back(acknowledgement_of(message));
  }));
  return acks;
}

Result<void> NetlinkSocket::change(const MessageBuilder& message, const std::string& what, int harmless) {
  const auto bytes = message.bytes();
  nlmsghdr sent{};
  std::memcpy(&sent, bytes.data(), sizeof sent);
  TRY_VOID(send(bytes));
  // The answer is there by now, and nothing comes behind it.
  std::optional<Acknowledgement> answer;
  for (bool any = true; any && !answer;) {
    any = false;
    TRY_VOID(receive_waiting(
        [&](MessageView received) {
          any = true;
          if (received.nlmsg_type == NLMSG_ERROR && received.nlmsg_seq == sent.nlmsg_seq)
            answer = acknowledgement_of(received);
        },
        1));
  }
  if (!answer || answer->error_number == 0 || answer->error_number == harmless) return {};
  return fail_errno(answer->text.empty() ? what : fmt::format("{} ({})", what, answer->text),
                    answer->error_number);
}

Result<void> NetlinkSocket::query(ByteView message, const std::function<void(MessageView)>& visit) {
  nlmsghdr sent{};
  std::memcpy(&sent, message.data(), sizeof sent);
  TRY_VOID(send(message));
  bool interrupted = false;
  while (true) {
    const ssize_t size = recv(fd(), buffer_.data(), buffer_.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail_errno("receive from netlink", errno);
    auto left = static_cast<int>(size);
    for (const auto* at = reinterpret_cast<const nlmsghdr*>(buffer_.data()); mnl_nlmsg_ok(at, left);
         at = mnl_nlmsg_next(at, &left)) {
      if (at->nlmsg_seq != sent.nlmsg_seq) continue;
      if ((at->nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      if (at->nlmsg_type == NLMSG_ERROR || at->nlmsg_type == NLMSG_DONE) {
        int error_number = 0;
        if (at->nlmsg_type == NLMSG_ERROR) {
          error_number = acknowledgement_of(*at).error_number;
        } else if (mnl_nlmsg_get_payload_len(at) >= sizeof(int)) {
          std::memcpy(&error_number, mnl_nlmsg_get_payload(at), sizeof error_number);
          error_number = -error_number;
        }
        if (error_number != 0) return fail_errno("netlink query", error_number);
        if (interrupted) return fail(ErrorCode::kUnavailable, "netlink dump was interrupted by a change");
        return {};
      }
      visit(*at);
    }
  }
}

Result<void> NetlinkSocket::receive_waiting(const std::function<void(MessageView)>& visit, std::size_t most) {
  for (; most > 0; --most) {
    const ssize_t size = recv(fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (size < 0) return fail_errno("receive from netlink", errno);
    auto left = static_cast<int>(size);
    for (const auto* at = reinterpret_cast<const nlmsghdr*>(buffer_.data()); mnl_nlmsg_ok(at, left);
         at = mnl_nlmsg_next(at, &left)) {
      visit(*at);
    }
  }
  return {};
}

}  // namespace ocicat::kernel
