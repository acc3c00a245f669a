#include "bench/streams.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"
#include "bench/load.h"

namespace ocicat::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRound{400};
constexpr std::uint16_t kPort = 7'000;

// Of either family.
struct SocketAddress {
  explicit SocketAddress(const IpAddress& own) {
    if (own.is_v4()) {
      auto& four = *reinterpret_cast<sockaddr_in*>(&storage);
      four.sin_family = AF_INET;
      four.sin_port = htons(kPort);
      std::memcpy(&four.sin_addr, own.bytes().data() + 12, sizeof four.sin_addr);
      length = sizeof four;
    } else {
      auto& six = *reinterpret_cast<sockaddr_in6*>(&storage);
      six.sin6_family = AF_INET6;
      six.sin6_port = htons(kPort);
      std::memcpy(&six.sin6_addr, own.bytes().data(), sizeof six.sin6_addr);
      length = sizeof six;
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  UniqueFd socket() const { return UniqueFd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

  sockaddr_storage storage{};
  socklen_t length = 0;
};

}  // namespace

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// With room for as much in every arm. What the kernel comes to by itself differs from one connection to the next.
UniqueFd listener_at(const IpAddress& own) {
  const SocketAddress address(own);
  auto socket = address.socket();
  constexpr int yes = 1, kRoom = 2'000'000;
  CHECK(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kRoom, sizeof kRoom) == 0);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  CHECK(::bind(socket.get(), address.get(), address.length) == 0);
  CHECK(::listen(socket.get(), 64) == 0);
  return socket;
}

// With Linux's own congestion control. One that paces, as bbr does, sends when its timers say so: 18 Gbit/s where
// this makes 45, and which arm is faster is chance.
UniqueFd connected_to(const IpAddress& far) {
  const SocketAddress address(far);
  auto socket = address.socket();
  constexpr std::string_view kCubic = "cubic";
  CHECK(::setsockopt(socket.get(), IPPROTO_TCP, TCP_CONGESTION, kCubic.data(), kCubic.size()) == 0);
  CHECK(::connect(socket.get(), address.get(), address.length) == 0);
  return socket;
}

UniqueFd accepted(const UniqueFd& listening) {
  UniqueFd socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  CHECK(socket);
  return socket;
}

Taken stream(const kernel::NetworkNamespace& from, const kernel::NetworkNamespace& to,
             const IpAddress& address, int streams) {
  std::atomic<double> seconds = 0;
  std::atomic<std::uint64_t> bytes = 0;
  const auto inside = [&](const kernel::NetworkNamespace& ns, auto work) {
    return std::thread([&, work] {
      stay_on(0);
      CHECK(ns.enter());
      work();
      seconds += thread_seconds();
    });
  };
  UniqueFd listening;
  to.run([&] { listening = listener_at(address); });
  std::vector<std::thread> threads;
  const auto begin = Clock::now();
  for (int i = 0; i < streams; ++i) {
    threads.push_back(inside(to, [&] {
      std::vector<char> buffer(128 * 1024);
      const auto socket = accepted(listening);
      for (ssize_t size = 0; (size = ::recv(socket.get(), buffer.data(), buffer.size(), 0)) > 0;)
        bytes += static_cast<std::uint64_t>(size);
    }));
    threads.push_back(inside(from, [&] {
      const std::vector<char> buffer(128 * 1024);
      const auto socket = connected_to(address);
      while (Clock::now() - begin < kRound) CHECK(::send(socket.get(), buffer.data(), buffer.size(), 0) > 0);
    }));
  }
  for (auto& thread : threads) thread.join();
  const std::chrono::duration<double> took = Clock::now() - begin;
  return {static_cast<double>(bytes) / took.count(), seconds / static_cast<double>(bytes)};
}

}  // namespace ocicat::bench
