#include "flows/tracked_ledger.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/whole_file.h"

namespace ocicat::flows {
namespace {

constexpr std::uint32_t kLayout = 1;
constexpr std::uint32_t kEgress = 1, kIngress = 2, kFromHost = 4, kRevoked = 8;  // Line::flags

std::uint64_t hash_of(std::string_view text) {
  return std::hash<std::string_view>()(text);
}

// Never 0. The kernel's number is no guess of anybody who chooses the ends.
std::uint64_t key_of(const kernel::Connection& connection) {
  const auto& identity = connection.identity;
  auto key = hash_of({reinterpret_cast<const char*>(identity.data()), identity.size()});
  key = (key ^ connection.id) * 0x9e3779b97f4a7c15U;
  key ^= key >> 32;
  return key == 0 ? 1 : key;
}

// A counter that has fallen has begun anew.
std::uint64_t since(std::uint64_t now, std::uint64_t told) {
  return now < told ? now : now - told;
}

}  // namespace

struct TrackedLedger::Header {
  std::uint64_t era = 0;
  std::uint32_t layout = 0, most = 0;
  std::uint32_t used = 0;   // no line beyond has ever been taken
  std::uint32_t look = 0;   // the number of the last one
  std::uint32_t began = 0;  // whether one has ended
  std::array<std::uint32_t, 9> unused{};
};

struct TrackedLedger::Line {
  std::uint64_t key = 0;     // 0: it is free
  std::uint32_t look = 0;    // the last one that has seen it
  std::uint32_t judged = 0;  // Replay::version() that says who tells of it, and why
  std::array<std::uint32_t, 2> outcomes{};
  std::array<std::uint64_t, 2> packets{}, bytes{};  // told, by direction
  std::uint32_t interface = 0, flags = 0;
};

TrackedLedger::Header& TrackedLedger::header() const {
  return *reinterpret_cast<Header*>(memory_.get());
}

std::span<TrackedLedger::Line> TrackedLedger::lines() const {
  static_assert(sizeof(Header) == 64 && sizeof(Line) == 64);
  return {reinterpret_cast<Line*>(memory_.get() + sizeof(Header)), most_};
}

std::size_t TrackedLedger::size_with(std::uint32_t lines) {
  return kernel::in_pages(sizeof(Header) + std::size_t{lines} * sizeof(Line));
}

bool TrackedLedger::reserve(std::uint32_t lines) {
  const auto needed = size_with(lines);
  if (needed <= reserved_) return true;
  const auto more = static_cast<off_t>(needed - reserved_);
  if (::posix_fallocate(file_.get(), static_cast<off_t>(reserved_), more) != 0) return false;
  reserved_ = needed;
  return true;
}

std::uint64_t TrackedLedger::era_of_host() {
  struct stat ns{};
  [[maybe_unused]] const auto found = ::stat("/proc/thread-self/ns/net", &ns);
  return hash_of(read_whole("/proc/sys/kernel/random/boot_id")) ^ ns.st_ino;
}

Result<TrackedLedger> TrackedLedger::open(const std::filesystem::path& file, std::uint64_t era,
                                          std::uint32_t most) {
  TrackedLedger ledger;
  ledger.file_ = UniqueFd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const int opened = ledger.file_.get();
  if (!ledger.file_) return fail_errno(fmt::format("open {}", file.string()), errno);
  Header there;
  const bool is_known = ::pread(opened, &there, sizeof there, 0) == sizeof there && there.layout == kLayout &&
                        there.era == era && there.most == most && there.used <= most;
  const auto size = size_with(most);
  if ((!is_known && ::ftruncate(opened, 0) != 0) || ::ftruncate(opened, static_cast<off_t>(size)) != 0)
    return fail_errno(fmt::format("write {}", file.string()), errno);
  if (!ledger.reserve(is_known ? there.used : 0))
    return fail_errno(fmt::format("write {}", file.string()), ENOSPC);
  TRY(ledger.memory_, kernel::map_memory(opened, 0, size, kernel::Access::kWrite));
  ledger.most_ = most;
  if (!is_known) {
    auto& header = ledger.header();
    header.era = era;
    header.layout = kLayout;
    header.most = most;
  }
  ledger.read();
  return ledger;
}

void TrackedLedger::read() {
  for (std::uint32_t place = 0; place < header().used; ++place) {
    auto& line = lines()[place];
    line.judged = 0;  // by another agent's count
    if (line.key == 0 || !places_.emplace(line.key, place).second) {
      line.key = 0;
      free_.push_back(place);
    }
  }
}

TrackedLedger::Line* TrackedLedger::find(std::uint64_t key) {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &lines()[found->second];
}

bool TrackedLedger::has_room() {
  return !free_.empty() || (header().used < most_ && reserve(header().used + 1));
}

TrackedLedger::Line* TrackedLedger::add(std::uint64_t key) {
  std::uint32_t place = header().used;
  if (!free_.empty()) {
    place = free_.back();
    free_.pop_back();
  } else {
    ++header().used;
  }
  places_.emplace(key, place);
  auto& line = lines()[place];
  line = {};
  line.key = key;
  return &line;
}

void TrackedLedger::remove(std::uint64_t key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return;
  lines()[found->second].key = 0;
  free_.push_back(found->second);
  places_.erase(found);
}

void TrackedLedger::book(const kernel::Connection& connection, bool goes_on, const Replay& replay,
                         const Ways& ways, std::uint32_t revoked,
                         const std::function<void(const Event&)>& visit) {
  if (!connection.counted) return;
  const auto key = key_of(connection);
  Line passing;
  auto* line = find(key);
  const bool is_new = line == nullptr;
  if (is_new && goes_on && !has_room()) return;  // it is told as it ends
  if (is_new) line = &passing;
  if (line->judged != replay.version()) {
    const auto ends = replay.ends_of(connection, ways);
    if (is_new && !ends.any()) return;
    if (is_new && goes_on) line = add(key);
    line->judged = replay.version();
    line->outcomes = {static_cast<std::uint32_t>(ends.outcomes[0]),
                      static_cast<std::uint32_t>(ends.outcomes[1])};
    line->interface = ends.interface;
    line->flags = (line->flags & kRevoked) | (ends.tells_at(policy::Direction::kEgress) ? kEgress : 0) |
                  (ends.tells_at(policy::Direction::kIngress) ? kIngress : 0) |
                  (ends.from_host ? kFromHost : 0);
  }
  const bool is_revoked = (connection.mark & revoked) != 0;
  // Not owed, or refused; of what has come since the last look some may have been let through.
  const bool is_quiet = (is_new && header().began == 0) || (is_revoked && (line->flags & kRevoked) != 0);
  std::array<std::uint64_t, 2> packets{}, bytes{};
  for (std::size_t way = 0; way < 2; ++way) {
    if (!is_quiet) packets[way] = since(connection.packets[way], line->packets[way]);
    if (!is_quiet) bytes[way] = since(connection.bytes[way], line->bytes[way]);
    line->packets[way] = connection.packets[way];
    line->bytes[way] = connection.bytes[way];
  }
  line->flags = (line->flags & ~kRevoked) | (is_revoked ? kRevoked : 0);
  line->look = header().look;
  Event event;
  event.time = std::chrono::system_clock::now();
  event.source = connection.source;
  event.destination = connection.destination;
  event.protocol = connection.protocol;
  const bool is_icmp = event.protocol == kIcmp || event.protocol == kIcmpV6;
  event.source_port = is_icmp ? std::uint16_t{0} : connection.source_port;
  event.destination_port = is_icmp
                               ? static_cast<std::uint16_t>(connection.icmp_type << 8 | connection.icmp_code)
                               : connection.destination_port;
  event.reason = Reason::kAllowed;
  event.interface = line->interface;
  for (const auto end : policy::kDirections) {
    const bool egress = end == policy::Direction::kEgress;
    if ((line->flags & (egress ? kEgress : kIngress)) == 0) continue;
    const std::size_t out = egress ? 0 : 1, in = 1 - out;
    event.end = end;
    event.outcomes = {};
    event.outcome(end) = policy::OutcomeId{line->outcomes[static_cast<std::size_t>(end)]};
    event.from_host = egress && (line->flags & kFromHost) != 0;
    event.comes_in = !event.from_host;
    event.carried = Carried{.packets_in = packets[in],
                            .packets_out = packets[out],
                            .bytes_in = bytes[in],
                            .bytes_out = bytes[out],
                            .goes_on = goes_on};
    visit(event);
  }
  if (!goes_on) remove(key);
}

// One that a look has missed, as others came and went, is seen by the next.
std::uint64_t TrackedLedger::end_look() {
  std::uint64_t gone = 0;
  const auto now = header().look;
  for (std::uint32_t place = 0; place < header().used; ++place) {
    const auto& line = lines()[place];
    if (line.key == 0 || now - line.look < 2) continue;
    remove(line.key);
    ++gone;
  }
  header().began = 1;
  ++header().look;
  return gone;
}

}  // namespace ocicat::flows
