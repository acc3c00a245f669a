#include "lab/probe_round.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "lab/netns.h"
#include "lab/probe_socket.h"
#include "lab/sctp.h"

namespace ocicat::lab {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTries = 3;
constexpr std::uint32_t kFirstSourcePort = 20000;
constexpr std::uint32_t kSourcePorts = 40000;

Answer answer_of(int error_number) {
  return error_number == ECONNREFUSED ? Answer::kRefused : Answer::kUnreachable;
}

}  // namespace

Result<std::vector<Answer>> ProbeRound::run() {
  poll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!poll_) return fail_errno("epoll_create1", errno);
  answers_.assign(questions_.size(), Answer::kNone);
  answered_.assign(questions_.size(), false);
  open_questions_ = questions_.size();
  for (attempt_ = 0; attempt_ < kTries && open_questions_ > 0; ++attempt_) {
    TRY_VOID(send_all());
    last_answer_ = Clock::now();
    // Answers that still come in show a busy machine, not a closed door: the last wait goes on while they do.
    do {
      TRY_VOID(collect(last_answer_ + patience_ / kTries));
    } while (open_questions_ > 0 && Clock::now() < last_answer_ + patience_ / kTries);
  }
  return answers_;
}

// The same for all questions of an attempt: they differ in where they go.
std::uint16_t ProbeRound::source_port() const {
  return static_cast<std::uint16_t>(kFirstSourcePort + (number_ * kTries + attempt_) % kSourcePorts);
}

Result<void> ProbeRound::send_all() {
  std::string inside;
  for (std::size_t index = 0; index < questions_.size(); ++index) {
    if (answered_[index]) continue;
    if (questions_[index].network_namespace != inside) {
      inside = questions_[index].network_namespace;
      TRY_VOID(enter_namespace(inside));
    }
    TRY_VOID(ask(index));
  }
  return {};
}

Result<void> ProbeRound::ask(std::size_t index) {
  switch (questions_[index].port.protocol) {
    case kTcp:
      return ask_by_stream(index);
    case kUdp:
      return ask_by_datagram(index);
    default:
      return ask_by_raw_socket(index);
  }
}

// The socket of an earlier try stays open as well: its answer counts just as much.
Result<void> ProbeRound::ask_by_stream(std::size_t index) {
  const auto& question = questions_[index];
  UniqueFd fd(socket(domain_of(question.target.family()), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  take_port(fd.get(), question.target.family(), source_port());
  const linger reset_on_close{1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close);
  const SocketAddress target(question.target, question.port.port);
  if (connect(fd.get(), target.get(), target.length) != 0 && errno != EINPROGRESS) {
    answer(index, answer_of(errno));
    return {};
  }
  TRY_VOID(watch(fd.get(), EPOLLOUT, {Role::kStream, index}));
  sockets_.push_back(std::move(fd));
  return {};
}

Result<void> ProbeRound::ask_by_datagram(std::size_t index) {
  const auto& question = questions_[index];
  auto known = datagram_socket_of_.find(index);
  if (known == datagram_socket_of_.end()) {
    UniqueFd fd(socket(domain_of(question.target.family()), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket", errno);
    take_port(fd.get(), question.target.family(), source_port());
    const SocketAddress target(question.target, question.port.port);
    if (connect(fd.get(), target.get(), target.length) != 0) {
      answer(index, answer_of(errno));
      return {};
    }
    TRY_VOID(watch(fd.get(), EPOLLIN, {Role::kDatagram, index}));
    known = datagram_socket_of_.emplace(index, fd.get()).first;
    sockets_.push_back(std::move(fd));
  }
  if (send(known->second, &index, sizeof index, MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != ENOBUFS) {
    answer(index, answer_of(errno));
  }
  return {};
}

Result<void> ProbeRound::ask_by_raw_socket(std::size_t index) {
  const auto& question = questions_[index];
  TRY(const auto raw, raw_socket(question));
  if (question.port.protocol == kSctp) {
    sctp_questions_[{question.network_namespace, question.target, question.port.port}] = index;
  }
  const auto bytes =
      question.port.protocol == kSctp
          ? sctp::encode({.source_port = source_port(),
                          .destination_port = question.port.port,
                          .initiate_tag = static_cast<std::uint32_t>(random_() | 1U)})
          : echo_request(question.target.family(), echo_id(), static_cast<std::uint16_t>(index));
  const SocketAddress target(question.target, 0);
  if (sendto(raw_sockets_[raw].fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL, target.get(),
             target.length) < 0 &&
      errno != EAGAIN && errno != ENOBUFS) {
    answer(index, answer_of(errno));
  }
  return {};
}

Result<std::size_t> ProbeRound::raw_socket(const Question& question) {
  const auto family = question.target.family();
  for (std::size_t index = 0; index < raw_sockets_.size(); ++index) {
    const auto& raw = raw_sockets_[index];
    if (raw.network_namespace == question.network_namespace && raw.family == family &&
        raw.protocol == question.port.protocol) {
      return index;
    }
  }
  const int echo = family == Family::kIpv4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  const int protocol = question.port.protocol == kSctp ? int{IPPROTO_SCTP} : echo;
  UniqueFd fd(socket(domain_of(family), SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd) return fail_errno("raw socket", errno);
  if (question.port.protocol != kSctp) filter_echo_replies(fd.get(), family);
  TRY_VOID(watch(fd.get(), EPOLLIN, {Role::kRaw, raw_sockets_.size()}));
  raw_sockets_.push_back({std::move(fd), question.network_namespace, family, question.port.protocol});
  return raw_sockets_.size() - 1;
}

Result<void> ProbeRound::watch(int fd, std::uint32_t events, Watched watched) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("epoll_ctl", errno);
  watched_.insert_or_assign(fd, watched);
  return {};
}

Result<void> ProbeRound::collect(Clock::time_point until) {
  std::array<epoll_event, 256> events{};
  while (open_questions_ > 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return {};
    const int count =
        epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()), static_cast<int>(left));
    if (count < 0 && errno != EINTR) return fail_errno("epoll_wait", errno);
    for (int at = 0; at < count; ++at) {
      const int fd = events[static_cast<std::size_t>(at)].data.fd;
      if (const auto found = watched_.find(fd); found != watched_.end()) take(fd, found->second);
    }
  }
  return {};
}

void ProbeRound::take(int fd, const Watched& watched) {
  switch (watched.role) {
    case Role::kStream:
      return take_stream(fd, watched.index);
    case Role::kDatagram:
      return take_datagram(fd, watched.index);
    case Role::kRaw:
      return take_raw(raw_sockets_[watched.index]);
  }
}

void ProbeRound::take_stream(int fd, std::size_t index) {
  int error_number = 0;
  socklen_t length = sizeof error_number;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &length);
  answer(index, error_number == 0 ? Answer::kEcho : answer_of(error_number));
  epoll_ctl(poll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void ProbeRound::take_datagram(int fd, std::size_t index) {
  std::size_t echoed = 0;
  const auto count = recv(fd, &echoed, sizeof echoed, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0) return answer(index, answer_of(errno));
  if (count == sizeof echoed && echoed == index) answer(index, Answer::kEcho);
}

void ProbeRound::take_raw(const RawSocket& raw) {
  std::array<std::uint8_t, 2048> buffer{};
  while (true) {
    SocketAddress sender;
    const auto count = recvfrom(raw.fd.get(), buffer.data(), buffer.size(), 0, sender.get(), &sender.length);
    if (count <= 0) return;
    auto bytes = std::span<const std::uint8_t>(buffer).first(static_cast<std::size_t>(count));
    // Raw IPv4 sockets show the IP header as well.
    if (raw.family == Family::kIpv4)
      bytes = bytes.subspan(std::min<std::size_t>(bytes.size(), (bytes[0] & 0x0fU) * 4U));
    if (raw.protocol == kSctp) {
      take_sctp(raw, bytes, sender.address());
    } else {
      take_echo_reply(raw, bytes, sender.address());
    }
  }
}

void ProbeRound::take_echo_reply(const RawSocket& raw, std::span<const std::uint8_t> bytes,
                                 const IpAddress& sender) {
  if (bytes.size() < kEchoHeader) return;
  const auto number = [&](std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
  };
  if (number(4) != echo_id()) return;
  const std::size_t index = number(6);
  if (index >= questions_.size() || questions_[index].target != sender) return;
  if (questions_[index].network_namespace == raw.network_namespace) answer(index, Answer::kEcho);
}

void ProbeRound::take_sctp(const RawSocket& raw, std::span<const std::uint8_t> bytes,
                           const IpAddress& sender) {
  const auto packet = sctp::decode(bytes);
  if (!packet || packet->chunk == sctp::Chunk::kInit) return;
  const auto found = sctp_questions_.find({raw.network_namespace, sender, packet->source_port});
  if (found == sctp_questions_.end()) return;
  answer(found->second, packet->chunk == sctp::Chunk::kInitAck ? Answer::kEcho : Answer::kRefused);
}

void ProbeRound::answer(std::size_t index, Answer what) {
  if (answered_[index]) return;
  answered_[index] = true;
  answers_[index] = what;
  --open_questions_;
  last_answer_ = Clock::now();
}

}  // namespace ocicat::lab
