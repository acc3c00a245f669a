#include "dataplane/bird/control.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>

namespace ocicat::dataplane {
namespace {

using Clock = std::chrono::steady_clock;

// More than any answer to what we ask, thousands of sessions included.
constexpr std::size_t kLongestAnswer = std::size_t{64} << 20;

int code_of(std::string_view line) {
  if (line.size() < 5) return -1;
  int code = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    if (std::isdigit(static_cast<unsigned char>(line[i])) == 0) return -1;
    code = code * 10 + (line[i] - '0');
  }
  return code;
}

}  // namespace

Result<BirdControl> BirdControl::connect(const std::filesystem::path& path,
                                         std::chrono::milliseconds patience) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto text = path.string();
  if (text.size() >= sizeof address.sun_path)
    return fail(ErrorCode::kInvalid, "the path {} is too long for a socket; choose a shorter --run-dir",
                text);
  std::memcpy(address.sun_path, text.data(), text.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("socket", errno);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED)
      return fail(ErrorCode::kNotFound, "nobody listens at {}", text);
    return fail_errno(fmt::format("connect to {}", text), errno);
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return fail_errno("SO_PEERCRED", errno);
  BirdControl control(std::move(socket), peer.pid, patience);
  TRY([[maybe_unused]] const auto welcome, control.answer());
  return control;
}

Result<std::string> BirdControl::ask(std::string_view command) {
  const auto line = fmt::format("{}\n", command);
  std::string_view rest = line;
  while (!rest.empty()) {
    const auto sent = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return fail(ErrorCode::kUnavailable, "BIRD has gone: {}", std::strerror(errno));
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return answer();
}

Result<std::string> BirdControl::read_line(Clock::time_point deadline) {
  while (true) {
    if (const auto end = received_.find('\n'); end != std::string::npos) {
      auto line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    if (received_.size() > kLongestAnswer) return fail(ErrorCode::kUnavailable, "BIRD's answer has no end");
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0)
      return fail(ErrorCode::kUnavailable, "BIRD does not answer within {} ms", patience_.count());
    pollfd ready{socket_.get(), POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(left.count())) < 0 && errno != EINTR)
      return fail_errno("poll", errno);
    if (ready.revents == 0) continue;
    std::array<char, 16384> buffer{};
    const auto size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size <= 0) return fail(ErrorCode::kUnavailable, "BIRD has gone");
    received_.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

// Codes below 8000 inform or end an answer, the others refuse. A code before ' ' ends it.
Result<std::string> BirdControl::answer() {
  const auto deadline = Clock::now() + patience_;
  std::string text;
  while (text.size() <= kLongestAnswer) {
    TRY(const auto line, read_line(deadline));
    const int code = code_of(line);
    const auto words =
        code < 0 ? std::string_view(line).substr(line.empty() ? 0 : 1) : std::string_view(line).substr(5);
    text.append(words).append("\n");
    if (code < 0 || line[4] == '-') continue;
    if (code < 8000) return text;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return fail(ErrorCode::kInvalid, "{}", text);
  }
  return fail(ErrorCode::kUnavailable, "BIRD's answer has no end");
}

}  // namespace ocicat::dataplane
