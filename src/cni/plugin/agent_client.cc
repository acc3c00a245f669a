#include "cni/plugin/agent_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/unique_fd.h"
#include "cni/places.h"

namespace ocicat::cni {
namespace {

// Longer than the agent takes at most; a runtime gives up after some minutes.
constexpr timeval kPatience{120, 0};
constexpr std::size_t kMostAnswer = std::size_t{2} << 20;  // it may repeat a configuration

Result<UniqueFd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(ErrorCode::kInvalid, "{} is too long for a socket's path", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("make a socket", errno);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail(ErrorCode::kUnavailable, "nobody listens at {}: {}", path, std::strerror(errno));
  }
  return fd;
}

Result<void> send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return fail(ErrorCode::kUnavailable, "the agent took no request: {}", std::strerror(errno));
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<std::string> receive_all(int fd) {
  std::string text;
  std::array<char, 16384> buffer{};
  while (true) {
    const auto size = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail(ErrorCode::kUnavailable, "the agent did not answer: {}", std::strerror(errno));
    if (size == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(size));
    if (text.size() > kMostAnswer) return fail(ErrorCode::kUnavailable, "the agent's answer does not end");
  }
}

std::optional<std::size_t> length_in(std::string_view head) {
  // Names of headers come in any case; this server writes this one.
  constexpr std::string_view kName = "\r\nContent-Length: ";
  const auto at = head.find(kName);
  if (at == std::string_view::npos) return std::nullopt;
  std::size_t length = 0;
  const auto* begin = head.data() + at + kName.size();
  const auto parsed = std::from_chars(begin, head.data() + head.size(), length);
  if (parsed.ec != std::errc()) return std::nullopt;
  return length;
}

Result<AgentAnswer> parse(std::string_view text) {
  const auto broken = [] { return fail(ErrorCode::kUnavailable, "the agent's answer broke off"); };
  const auto end = text.find("\r\n\r\n");
  if (end == std::string_view::npos) return broken();
  const auto head = text.substr(0, end + 2);
  const auto body = text.substr(end + 4);
  const auto length = length_in(head);
  if (!length || body.size() != *length) return broken();
  constexpr std::size_t kStatusAt = 9;  // after "HTTP/1.1 "
  const auto status = head.substr(std::min(kStatusAt, head.size()), 3);
  const bool done = status == "200";
  if (!done && (status != "500" || !body.starts_with('{')))
    return fail(ErrorCode::kUnavailable, "the agent answered {}: {}", status, body);
  return AgentAnswer{done, std::string(body)};
}

}  // namespace

Result<AgentAnswer> ask_agent(const std::string& socket_path, std::string_view message) {
  TRY(const auto fd, connect_to(socket_path));
  const auto request = fmt::format(
      "POST {} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\n\r\n{}",
      kTarget, message.size(), message);
  TRY_VOID(send_all(fd.get(), request));
  TRY(const auto text, receive_all(fd.get()));
  return parse(text);
}

}  // namespace ocicat::cni
