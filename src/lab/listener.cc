#include "lab/listener.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <span>

#include "base/unique_fd.h"
#include "lab/sctp.h"

namespace ocicat::lab {
namespace {

// What comes while others have the processor waits, so that a packet that does not arrive was lost on its way.
void make_room(const UniqueFd& fd) {
  constexpr int kRoom = 8 << 20;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kRoom, sizeof kRoom);
}

// One socket for both families: IPv4 peers appear as ::ffff:a.b.c.d.
Result<UniqueFd> open_port(const NamedPort& port) {
  const int type = port.protocol == kTcp ? SOCK_STREAM : SOCK_DGRAM;
  UniqueFd fd(socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  const int on = 1;
  const int off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (type == SOCK_DGRAM) make_room(fd);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port.port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) {
    return fail_errno(fmt::format("bind {}", port.to_string()), errno);
  }
  if (port.protocol == kTcp && listen(fd.get(), 4096) != 0) return fail_errno("listen", errno);
  return fd;
}

class Listener {
 public:
  Result<void> open(const std::vector<NamedPort>& ports) {
    poll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
    if (!poll_) return fail_errno("epoll_create1", errno);
    for (const auto& port : ports) {
      if (port.protocol == kSctp) sctp_ports_.insert(port.port);
      if (port.protocol != kTcp && port.protocol != kUdp) continue;
      TRY(auto fd, open_port(port));
      watch(std::move(fd), port.protocol == kTcp ? Role::kAccepting : Role::kDatagrams);
    }
    if (sctp_ports_.empty()) return {};
    for (const int family : {AF_INET, AF_INET6}) {
      UniqueFd fd(socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_SCTP));
      if (!fd) return fail_errno("raw SCTP socket", errno);
      make_room(fd);
      watch(std::move(fd), family == AF_INET ? Role::kSctp4 : Role::kSctp6);
    }
    return {};
  }

  Result<void> serve(int stop_fd) {
    if (stop_fd >= 0) watch(UniqueFd(dup(stop_fd)), Role::kStop);
    std::array<epoll_event, 64> events{};
    while (true) {
      const int count = epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) return fail_errno("epoll_wait", errno);
      for (int index = 0; index < count; ++index) {
        const int fd = events[static_cast<std::size_t>(index)].data.fd;
        const auto found = sockets_.find(fd);
        if (found == sockets_.end()) continue;
        if (found->second.role == Role::kStop) return {};
        serve_one(fd, found->second.role);
      }
    }
  }

 private:
  enum class Role { kAccepting, kConnection, kDatagrams, kSctp4, kSctp6, kStop };
  struct Socket {
    UniqueFd fd;
    Role role;
    std::vector<std::uint8_t> pending;  // of a connection: read and not yet sent back
  };

  void watch(UniqueFd fd, Role role) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd.get();
    epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd.get(), &event);
    const int number = fd.get();
    sockets_.insert_or_assign(number, Socket{std::move(fd), role, {}});
  }

  void serve_one(int fd, Role role) {
    switch (role) {
      case Role::kAccepting:
        while (true) {
          UniqueFd connection(accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
          if (!connection) return;
          watch(std::move(connection), Role::kConnection);
        }
      case Role::kConnection:
        return echo_stream(fd);
      case Role::kDatagrams:
        return echo_datagrams(fd);
      case Role::kSctp4:
      case Role::kSctp6:
        return answer_sctp(fd, role == Role::kSctp4);
      case Role::kStop:
        return;
    }
  }

  // While something waits to be sent nothing more is read, so a slow peer only slows itself.
  void echo_stream(int fd) {
    auto& socket = sockets_.at(fd);
    if (socket.pending.empty()) {
      const auto count = recv(fd, buffer_.data(), buffer_.size(), 0);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (count <= 0) {
        sockets_.erase(fd);
        return;
      }
      socket.pending.assign(buffer_.begin(), buffer_.begin() + count);
    }
    const auto sent = send(fd, socket.pending.data(), socket.pending.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      sockets_.erase(fd);
      return;
    }
    if (sent > 0) socket.pending.erase(socket.pending.begin(), socket.pending.begin() + sent);
    epoll_event event{};
    event.events = socket.pending.empty() ? EPOLLIN : EPOLLOUT;
    event.data.fd = fd;
    epoll_ctl(poll_.get(), EPOLL_CTL_MOD, fd, &event);
  }

  void echo_datagrams(int fd) {
    while (true) {
      sockaddr_storage peer{};
      socklen_t length = sizeof peer;
      const auto count =
          recvfrom(fd, buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&peer), &length);
      if (count < 0) return;
      sendto(fd, buffer_.data(), static_cast<std::size_t>(count), MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&peer), length);
    }
  }

  void answer_sctp(int fd, bool with_ip_header) {
    while (true) {
      sockaddr_storage peer{};
      socklen_t length = sizeof peer;
      const auto count =
          recvfrom(fd, buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&peer), &length);
      if (count < 0) return;
      auto bytes = std::span(buffer_).first(static_cast<std::size_t>(count));
      if (with_ip_header) bytes = bytes.subspan(std::min<std::size_t>(bytes.size(), (bytes[0] & 0x0fU) * 4U));
      const auto init = sctp::decode(bytes);
      if (!init || init->chunk != sctp::Chunk::kInit) continue;
      const auto tag = static_cast<std::uint32_t>(random_() | 1U);
      const auto reply = sctp::encode(sctp::answer(*init, sctp_ports_.contains(init->destination_port), tag));
      if (peer.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(&peer)->sin6_port = 0;
      sendto(fd, reply.data(), reply.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&peer), length);
    }
  }

  UniqueFd poll_;
  std::map<int, Socket> sockets_;
  std::set<std::uint16_t> sctp_ports_;
  std::array<std::uint8_t, 65536> buffer_{};
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace

Result<void> run_listener(const std::vector<NamedPort>& ports, int ready_fd, int stop_fd) {
  const auto listener = std::make_unique<Listener>();
  TRY_VOID(listener->open(ports));
  if (ready_fd >= 0) {
    if (write(ready_fd, "+", 1) != 1) return fail_errno("say that it is ready", errno);
    close(ready_fd);
  }
  return listener->serve(stop_fd);
}

}  // namespace ocicat::lab
