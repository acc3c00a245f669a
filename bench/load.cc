#include "bench/load.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "load.skel.h"

namespace ocicat::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kGiveUp{500};

std::uint32_t number(const IpAddress& address) {
  const auto bytes = std::span(address.bytes()).last(4);
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
         bytes[3];
}

template <class T>
T taken(Result<T> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  CHECK(result);
  return std::move(*result);
}

void put16(std::uint8_t* to, std::uint32_t value) {
  to[0] = static_cast<std::uint8_t>(value >> 8);
  to[1] = static_cast<std::uint8_t>(value);
}

// Of the words in between, folded.
std::uint32_t sum_of(const std::array<std::uint8_t, LOAD_FRAME>& frame, std::size_t from, std::size_t to) {
  std::uint32_t sum = 0;
  for (std::size_t i = from; i < to; i += 2) sum += std::uint32_t{frame[i]} << 8 | frame[i + 1];
  return (sum & 0xffff) + (sum >> 16);
}

void write_frame(std::array<std::uint8_t, LOAD_FRAME>& frame, const Flows& flows, const std::string& mac) {
  frame.fill(0);
  std::array<unsigned, 6> bytes{};
  CHECK(std::sscanf(mac.c_str(), "%x:%x:%x:%x:%x:%x", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4],
                    &bytes[5]) == 6);
  for (std::size_t i = 0; i < bytes.size(); ++i) frame[i] = static_cast<std::uint8_t>(bytes[i]);
  frame[6] = 2;  // anybody's
  const auto put_end = [&](const IpAddress& address, bool varies, std::uint8_t* at) {
    const auto length = address.is_v4() ? 4U : 16U, kept = varies ? length - 4 : length;
    std::ranges::copy(std::span(address.bytes()).last(length).first(kept), at);
  };
  if (flows.source.is_v4()) {
    put16(&frame[12], 0x0800);
    frame[14] = 0x45;
    put16(&frame[16], flows.size - 14);
    frame[22] = 64;
    frame[23] = 17;
    put_end(flows.source, !flows.by_destination, &frame[26]);
    put_end(flows.destination, flows.by_destination, &frame[30]);
    put16(&frame[24], sum_of(frame, 14, 34));
    put16(&frame[38], flows.size - 34);
  } else {
    put16(&frame[12], 0x86dd);
    frame[14] = 0x60;
    put16(&frame[18], flows.size - 54);
    frame[20] = 17;
    frame[21] = 64;
    put_end(flows.source, !flows.by_destination, &frame[22]);
    put_end(flows.destination, flows.by_destination, &frame[38]);
    put16(&frame[58], flows.size - 54);
    // All behind is zero.
    const auto sum = sum_of(frame, 22, 54) + 2 * (flows.size - 54) + 17;
    put16(&frame[60], (sum & 0xffff) + (sum >> 16));
  }
}

}  // namespace

std::vector<std::uint8_t> frame_of(const Flows& flows, const std::string& interface_mac) {
  std::array<std::uint8_t, LOAD_FRAME> frame{};
  write_frame(frame, flows, interface_mac);
  return {frame.begin(), frame.end()};
}

void stay_on(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  CHECK(::sched_setaffinity(0, sizeof set, &set) == 0);
}

Load::Load() {
  using kernel::bpf::fd_of, kernel::bpf::MappedArray;
  auto object = taken(kernel::bpf::Skeleton<load_bpf>::open());
  CHECK(object.load());
  generate_ = taken(fd_of(object->progs.generate));
  sink_ = taken(fd_of(object->progs.sink));
  drop_ = taken(fd_of(object->progs.drop));
  to_tunnel_ = taken(fd_of(object->progs.to_tunnel));
  tunnel_ = taken(MappedArray::of(taken(fd_of(object->maps.tunnel))));
  arrivals_ = taken(MappedArray::of(taken(fd_of(object->maps.arrivals))));
  plan_ = taken(MappedArray::of(taken(fd_of(object->maps.plan))));
  rounds_ = taken(MappedArray::of(taken(fd_of(object->maps.rounds))));
  ports_ = taken(MappedArray::of(taken(fd_of(object->maps.ports_listed))));
  plan_.as<load_plan>().front().arriving = LOAD_FRAME;
}

void Load::aim(const Flows& flows, const std::string& interface_mac, std::uint32_t first) {
  load_plan plan{};
  std::array<std::uint8_t, LOAD_FRAME> frame{};
  write_frame(frame, flows, interface_mac);
  std::ranges::copy(frame, plan.frame);
  plan.spread = number(flows.by_destination ? flows.destination : flows.source);
  plan.by_destination = flows.by_destination ? 1 : 0;
  plan.flow_mask = flows.count - 1;
  plan.address_mask = flows.addresses - 1;
  plan.address_bits = static_cast<std::uint32_t>(std::countr_zero(flows.addresses));
  plan.stride = flows.stride;
  plan.leaves = flows.leaves ? 1 : 0;
  plan.random = flows.random ? 1 : 0;
  plan.ipv6 = flows.source.is_v4() ? 0 : 1;
  plan.replies = !flows.replies ? 0 : flows.ports.empty() ? 1 : 2;
  for (std::size_t i = 0; i < flows.ports.size(); ++i) ports_.as<std::uint64_t>()[i] = htons(flows.ports[i]);
  plan.arriving = flows.size + flows.grows;
  plan.next = flows.random ? (first + 1) * 2654435761U | 1 : first;
  plan_.as<load_plan>().front() = plan;
  size_ = flows.size;
}

void Load::send(int interface, std::uint32_t packets) {
  std::array<std::uint8_t, LOAD_FRAME_MAX> frame{};
  xdp_md context{};
  context.data_end = size_;
  context.ingress_ifindex = static_cast<std::uint32_t>(interface);
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = size_;
  options.ctx_in = &context;
  options.ctx_size_in = sizeof context;
  options.repeat = static_cast<int>(packets);
  options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  const int error = ::bpf_prog_test_run_opts(generate_.get(), &options);
  if (error != 0) std::fprintf(stderr, "cannot send live frames: %s\n", std::strerror(-error));
  CHECK(error == 0);
}

void Load::deliver(int interface, std::uint32_t packets) {
  const std::uint64_t wanted = arrived() + packets;
  send(interface, packets);
  awaited_ += packets;
  const auto give_up = Clock::now() + kGiveUp;
  // Where the machine is busy, the kernel leaves the rest to a thread of its own.
  while (arrived() < wanted && Clock::now() < give_up) ::usleep(50);
  const std::uint64_t count = arrived();
  if (count < wanted) lost_ += wanted - count;
}

std::vector<double> Load::timed(int interface, const Rounds& wanted, Fate fate) {
  CHECK(wanted.count <= LOAD_ROUNDS_MAX);
  auto& clock = rounds_.as<load_rounds>().front();
  clock = {};
  clock.next_begin = wanted.warm;
  clock.next_end = wanted.warm + wanted.round;
  clock.round = wanted.round;
  const bool arrives = fate == Fate::kArrive;
  if (arrives) {
    deliver(interface, wanted.packets());
  } else {
    send(interface, wanted.packets());
  }
  CHECK(read(clock.sent) == wanted.packets());
  std::vector<double> rounds;
  for (std::uint32_t i = 0; i < wanted.count && (!arrives || i < clock.ended); ++i) {
    const auto end = arrives ? clock.end[i] : clock.begin[i + 1];
    rounds.push_back(static_cast<double>(end - clock.begin[i]) / wanted.round);
  }
  clock.round = 0;
  return rounds;
}

UniqueFd Load::sink_at(int interface) const {
  return taken(kernel::bpf::attach(sink_.get(), interface, kernel::bpf::Hook::kIngress));
}

UniqueFd Load::tunnel_from(int interface, const load_tunnel& to) const {
  tunnel_.as<load_tunnel>().front() = to;
  return taken(kernel::bpf::attach(to_tunnel_.get(), interface, kernel::bpf::Hook::kIngress));
}

UniqueFd Load::drop_in_driver(int interface) const {
  return taken(kernel::bpf::attach_to_driver(drop_.get(), interface));
}

}  // namespace ocicat::bench
