#include "dataplane/ebpf/older_connections.h"

#include <fcntl.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "kernel/bpf_layout.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::Bytes;
using kernel::bpf::Layout;

constexpr std::array kNeeded{"connection.seen", "connection.tcp", "connection.flags"};
constexpr std::array kOfItsHost{"connection.judged", "connection.endpoint", "connection.workload"};

// Of struct tracked.
Result<std::optional<Layout>> element_layout(const UniqueFd& map) {
  TRY(auto layout, kernel::bpf::layout_of(map.get()));
  if (!layout) return std::nullopt;
  return std::move(layout->value);
}

bool is_padding(const std::string& name) {
  return name.ends_with(".pad");
}

// Members that a connection is known by, with their sizes.
std::map<std::string, std::size_t> identity(const Layout& layout) {
  std::map<std::string, std::size_t> members;
  for (const auto& [name, member] : layout) {
    if (name.starts_with("key.") && !is_padding(name)) members.emplace(name, member.size);
  }
  return members;
}

// Where a member of an element of the current layout is in a NotedConnection.
std::optional<std::size_t> place_in_noted(const std::string& name, std::size_t offset, std::size_t key_at,
                                          std::size_t connection_at) {
  if (name.starts_with("key.")) return offsetof(NotedConnection, key) + offset - key_at;
  if (name.starts_with("connection.")) return offsetof(NotedConnection, value) + offset - connection_at;
  return std::nullopt;
}

// Where the first of the members with this prefix begins.
std::size_t beginning(const Layout& layout, const char* prefix) {
  std::size_t first = SIZE_MAX;
  for (const auto& [name, member] : layout) {
    if (name.starts_with(prefix)) first = std::min(first, member.offset);
  }
  return first;
}

}  // namespace

Result<std::optional<OlderConnections>> OlderConnections::open(const UniqueFd& older,
                                                               const UniqueFd& current) {
  TRY(const auto from, element_layout(older));
  TRY(const auto to, element_layout(current));
  if (!from || !to || identity(*from).empty() || !std::ranges::includes(identity(*to), identity(*from))) {
    return std::nullopt;
  }
  OlderConnections result;
  const auto key_at = beginning(*to, "key."), connection_at = beginning(*to, "connection.");
  std::size_t needed = 0;
  for (const auto& [name, member] : *to) {
    const auto there = from->find(name);
    const auto place = place_in_noted(name, member.offset, key_at, connection_at);
    if (there == from->end() || there->second.size != member.size || !place || is_padding(name)) continue;
    if (std::ranges::find(kOfItsHost, name) != kOfItsHost.end()) continue;
    needed += std::ranges::find(kNeeded, name) != kNeeded.end() ? 1U : 0U;
    result.copies_.push_back({there->second.offset, *place, member.size});
  }
  if (needed != kNeeded.size()) return std::nullopt;
  if (const auto version = from->find("version"); version != from->end() && version->second.size == 4)
    result.version_ = version->second.offset;
  UniqueFd own(::fcntl(older.get(), F_DUPFD_CLOEXEC, 3));
  if (!own) return fail_errno("keep a descriptor", errno);
  TRY(result.map_, kernel::bpf::KernelMap::of(std::move(own)));
  return std::optional(std::move(result));
}

Result<void> OlderConnections::for_each(const std::function<void(const NotedConnection&)>& visit) const {
  return map_->for_each([&](Bytes, Bytes element) {
    if (version_) {
      std::uint32_t version = 0;
      std::memcpy(&version, element.data() + *version_, sizeof version);
      if (version == 0 || version % 2 != 0) return;
    }
    NotedConnection noted{};
    for (const auto& [from, to, size] : copies_)
      std::memcpy(reinterpret_cast<std::byte*>(&noted) + to, element.data() + from, size);
    if (noted.value.seen != 0) visit(noted);
  });
}

}  // namespace ocicat::dataplane::ebpf
