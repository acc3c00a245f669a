// What connections that the kernel tracks have carried, told once: the kernel's counters against what a file says has been
// told of them.
//
//   goes on    a look at all books what has come since the last one
//   ends       the kernel tells, with all it has carried; what is booked is taken off here
//   file       in memory of this process: what is booked there is booked, whatever becomes of the agent. What it says of
//              another start of the machine, or of another network namespace, counts for nothing. Where there was none, what
//              has been carried so far is not owed
//   bounds     of connections that find no room, in the file or where that lies, all is told as they end
//   cost       64 bytes a connection, and some twenty to find it by
//   design     docs/design/flows.md#what-connections-carry
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "flows/event.h"
#include "flows/replay.h"
#include "kernel/connections.h"
#include "kernel/mapped_memory.h"

namespace ocicat::flows {

class TrackedLedger {
 public:
  static constexpr std::uint32_t kMost = 262'144;
  // `era`: what is in the file of another one counts for nothing.
  static Result<TrackedLedger> open(const std::filesystem::path& file, std::uint64_t era,
                                    std::uint32_t most = kMost);
  // Of this start of the machine and this network namespace.
  static std::uint64_t era_of_host();

  // Tells what a connection has carried since it was told last, at each end that policy of this host has a say in; of one
  // that goes on also where that is nothing. `revoked`: the bit by which it is refused in the meantime: what it carries
  // then is told as refused.
  void book(const kernel::Connection& connection, bool goes_on, const Replay& replay, const Ways& ways,
            std::uint32_t revoked, const std::function<void(const Event&)>& visit);
  // Behind a look at all: how many have gone of which nobody has told.
  std::uint64_t end_look();
  std::size_t size() const { return places_.size(); }

 private:
  struct Line;
  struct Header;

  TrackedLedger() = default;
  void read();
  static std::size_t size_with(std::uint32_t lines);
  // The file has room for these: what is written to its memory without would end the process (SIGBUS).
  bool reserve(std::uint32_t lines);
  Line* find(std::uint64_t key);
  bool has_room();
  Line* add(std::uint64_t key);  // where there is room
  void remove(std::uint64_t key);
  Header& header() const;
  std::span<Line> lines() const;

  UniqueFd file_;
  std::size_t reserved_ = 0;  // of the file, in bytes
  kernel::MappedMemory memory_;
  std::uint32_t most_ = 0;
  boost::unordered_flat_map<std::uint64_t, std::uint32_t> places_;  // by key, of lines
  std::vector<std::uint32_t> free_;                                 // below the header's `used`
};

}  // namespace ocicat::flows
