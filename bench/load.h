// Packets made in the kernel, as XDP live frames at an interface, and counted where they arrive.
//
//   source   benchmarks.md 5: the whole header is written for every frame, and deliveries are counted
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ip.h"
#include "bench/bpf/load.h"
#include "kernel/bpf.h"
#include "kernel/network_namespace.h"

namespace ocicat::bench {

// What is sent: UDP.
struct Flows {
  IpAddress source, destination;       // of one family
  std::uint32_t count = 1;             // a power of two
  std::uint32_t addresses = 1;         // likewise, at the end that varies: the flows take turns at them
  std::uint32_t stride = 1;            // from one address to the next
  bool by_destination = false;         // which end that is
  bool random = false;                 // else one after the other
  bool leaves = false;                 // by the interface, to its other end; else they come in by it
  bool replies = false;                // as from the end that is asked: ports are exchanged
  std::vector<std::uint16_t> ports{};  // of replies, those that they are for, by flow; else as the flows ask
  std::uint32_t size = LOAD_FRAME;     // of a frame, LOAD_FRAME_MAX at most
  std::uint32_t grows = 0;             // by so much on its way
};

// One of them, for an interface with this MAC address.
std::vector<std::uint8_t> frame_of(const Flows& flows, const std::string& interface_mac);

class Load {
 public:
  Load();

  // The frames come in by an interface with this MAC address. `first`: the number of the first flow, or what
  // makes this run's random order another than that of others.
  void aim(const Flows& flows, const std::string& interface_mac, std::uint32_t first = 0);
  // From where the last run ended; by an interface of the calling thread's namespace.
  void send(int interface, std::uint32_t packets);
  // The same, and waits until all have arrived. Those that do not are counted by lost().
  void deliver(int interface, std::uint32_t packets);
  // Sends in one run what is to be `warm`, rounds of so many, and one packet more, and says how long each round
  // took, in nanoseconds a packet: from when its first packet was made until its last one arrived, or, of packets
  // that arrive nowhere, until the next round's first one was made. So what it takes to begin a run does not
  // count, nor what is not in the caches because the processor rested before. All of it has to be on the calling
  // thread's processor (stay_on()).
  struct Rounds {
    std::uint32_t warm = 0, round = 0, count = 0;  // LOAD_ROUNDS_MAX rounds at most
    std::uint32_t packets() const { return warm + round * count + 1; }
  };
  enum class Fate { kArrive, kAreRefused };  // at a sink, or nowhere
  std::vector<double> timed(int interface, const Rounds& wanted, Fate fate);
  // At all sinks: frames of LOAD_FRAME bytes, and of LOAD_OTHERS.
  std::uint64_t arrived() const { return read(arrivals_.as<load_arrivals>().front().count); }
  std::uint64_t others_arrived() const { return read(arrivals_.as<load_arrivals>().front().others); }
  std::uint64_t lost() const { return lost_; }
  // Of those that were to arrive.
  double delivered() const { return 1 - static_cast<double>(lost_) / static_cast<double>(awaited_); }
  // Counts and drops what comes in by the interface, for as long as the link is held.
  UniqueFd sink_at(int interface) const;
  // Whatever comes in by the interface goes by tunnel key to another host, likewise.
  UniqueFd tunnel_from(int interface, const load_tunnel& to) const;
  // Drops what comes in by the interface, in its driver, likewise.
  UniqueFd drop_in_driver(int interface) const;

 private:
  UniqueFd generate_, sink_, drop_, to_tunnel_;
  kernel::bpf::MappedArray plan_, arrivals_, ports_, tunnel_, rounds_;
  static std::uint64_t read(const __u64& value) { return __atomic_load_n(&value, __ATOMIC_ACQUIRE); }

  std::uint32_t size_ = LOAD_FRAME;
  std::uint64_t awaited_ = 0, lost_ = 0;
};

// On this processor from here on: the frames' whole way, the stack's part included.
void stay_on(int processor);

}  // namespace ocicat::bench
