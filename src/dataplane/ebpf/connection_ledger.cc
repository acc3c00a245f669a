#include "dataplane/ebpf/connection_ledger.h"

#include <linux/if_ether.h>

#include <algorithm>
#include <atomic>
#include <span>

#include "dataplane/ebpf/connection_table.h"
#include "kernel/bpf.h"
#include "kernel/mapped_memory.h"
#include "maps/holders.h"

namespace ocicat::dataplane::ebpf {
namespace {

constexpr std::uint32_t kWindow = 8192;  // places in memory at once: whole pages of both maps
static_assert(bpf::CONNECTIONS_MAX % kWindow == 0);

template <class T>
T load(const T& place) {
  return __atomic_load_n(&place, __ATOMIC_ACQUIRE);
}
template <class T>
void store(T& place, T value) {
  __atomic_store_n(&place, value, __ATOMIC_RELEASE);
}

// A piece of an array map.
template <class T>
class Window {
 public:
  static Result<Window> of(const UniqueFd& map, std::uint32_t first, kernel::Access access) {
    Window window;
    TRY(window.memory_,
        kernel::map_memory(map.get(), std::size_t{first} * sizeof(T), kWindow * sizeof(T), access));
    return window;
  }
  T& operator[](std::uint32_t place) const { return reinterpret_cast<T*>(memory_.get())[place % kWindow]; }

 private:
  kernel::MappedMemory memory_;
};

// What a workload tells of, the host does not tell again.
bool is_told_elsewhere(const bpf::connection_key& key, const bpf::connection& connection) {
  return key.at_host != 0 && bpf::workload_at_host(&connection) != 0;
}

// `booked`: of this connection; nullptr: nothing.
Booking since(const bpf::connection_key& key, const bpf::connection& connection, const bpf::booked* booked) {
  Booking booking{.key = key, .connection = connection};
  const std::uint64_t header = key.at_host != 0 ? 0 : ETH_HLEN;
  for (std::size_t end = 0; end < 2; ++end) {
    const auto packets = connection.packets[end] - (booked == nullptr ? 0 : booked->packets[end]);
    const auto bytes = connection.bytes[end] - (booked == nullptr ? 0 : booked->bytes[end]);
    booking.packets[end] = packets;
    // A packet whose bytes are counted, and itself not yet, leaves its header's to the next time: sums are modulo 2^64.
    booking.bytes[end] = bytes - packets * header;
  }
  return booking;
}

// Whoever dies halfway leaves a line that is about nobody.
void write(bpf::booked& line, const Booking& booking, std::uint32_t version) {
  store(line.version, 0U);
  for (std::size_t end = 0; end < 2; ++end) {
    store(line.packets[end], booking.connection.packets[end]);
    store(line.bytes[end], booking.connection.bytes[end]);
  }
  store(line.ended, std::uint32_t{!booking.goes_on});
  store(line.version, version);
}

struct Copy {
  std::uint32_t version = 0;
  bpf::connection_key key;
  bpf::connection connection;
};
// Nothing: no connection is there, or one that is being written.
std::optional<Copy> copy_of(const bpf::tracked& there) {
  const auto version = load(there.version);
  if (version == 0 || (version & 1) != 0) return std::nullopt;
  Copy copy{version, there.key, there.connection};
  std::atomic_thread_fence(std::memory_order_acquire);
  if (load(there.version) != version) return std::nullopt;
  return copy;
}

template <class T>
Result<UniqueFd> open_places(const std::filesystem::path& pin) {
  TRY(auto map, kernel::bpf::open_pin(pin));
  TRY(const auto shape, kernel::bpf::shape_of(map.get()));
  if (shape.value_size != sizeof(T) || shape.max_entries != bpf::CONNECTIONS_MAX)
    return fail(ErrorCode::kUnsupported, "map {} is pinned by a build with another layout", pin.string());
  return map;
}

}  // namespace

// Each time: another datapath may have pinned others.
Result<void> ConnectionLedger::open() {
  TRY(connections_, open_places<bpf::tracked>(maps_ / "connections"));
  TRY(ledger_, open_places<bpf::booked>(maps_ / "ledger"));
  TRY(const auto timeouts, kernel::bpf::open_pin(maps_ / "timeouts"));
  TRY(const auto memory, kernel::bpf::MappedArray::of(timeouts));
  timeouts_ = memory.as<bpf::timeouts>().front();
  return {};
}

Result<void> ConnectionLedger::book(const Places* some, Places* late, const Visit& visit) const {
  const auto now = ticks_now();
  std::size_t next = 0;  // of `some`
  for (std::uint32_t first = 0; first < bpf::CONNECTIONS_MAX; first += kWindow) {
    if (some != nullptr && (next == some->size() || (*some)[next] >= first + kWindow)) continue;
    TRY(const auto connections, Window<const bpf::tracked>::of(connections_, first, kernel::Access::kRead));
    TRY(const auto ledger, Window<bpf::booked>::of(ledger_, first, kernel::Access::kWrite));
    const auto book_one = [&](std::uint32_t place) {
      const auto there = copy_of(connections[place]);
      if (!there || is_told_elsewhere(there->key, there->connection)) return;
      auto& line = ledger[place];
      const bool is_known = line.version == there->version;
      if (!is_known && line.version != 0 && late != nullptr) return late->push_back(place);
      auto booking = since(there->key, there->connection, is_known ? &line : nullptr);
      booking.outcomes = {load(line.outcome[0]), load(line.outcome[1])};
      booking.goes_on = bpf::is_over(&there->connection, there->key.protocol, now, &timeouts_) == 0;
      const bool is_told = is_known && line.ended != 0 && booking.packets == decltype(booking.packets){};
      if (!booking.goes_on && is_told) return;
      visit(booking);
      write(line, booking, there->version);
    };
    if (some == nullptr) {
      for (auto place = first; place < first + kWindow; ++place) book_one(place);
    } else {
      while (next < some->size() && (*some)[next] < first + kWindow) book_one((*some)[next++]);
    }
  }
  return {};
}

Result<void> ConnectionLedger::walk(const std::function<bool()>& drain, const Visit& visit) {
  TRY_VOID(open());
  Places late;
  TRY_VOID(book(nullptr, &late, visit));
  if (late.empty() || !drain()) return {};
  return book(&late, nullptr, visit);
}

void ConnectionLedger::depart(const bpf::departed& told, const Visit& visit) {
  if (is_told_elsewhere(told.key, told.connection)) return;
  bpf::booked line{};
  if (!ledger_) [[maybe_unused]]
    const auto opened = open();
  const bool is_known =
      ledger_ && kernel::bpf::read_element(ledger_.get(), told.place, line) && line.version == told.version;
  auto booking = since(told.key, told.connection, is_known ? &line : nullptr);
  booking.outcomes = {told.outcome[0], told.outcome[1]};
  booking.goes_on = false;
  visit(booking);
}

}  // namespace ocicat::dataplane::ebpf
