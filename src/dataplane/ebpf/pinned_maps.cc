#include "dataplane/ebpf/pinned_maps.h"

#include "dataplane/ebpf/objects.h"

namespace ocicat::dataplane::ebpf {

Result<PinnedMaps> PinnedMaps::open(const std::filesystem::path& folder) {
  std::error_code failed;
  if (!std::filesystem::exists(events_pin(folder), failed)) {
    if (failed && failed != std::errc::no_such_file_or_directory)
      return fail(ErrorCode::kPermission, "cannot look into {}: {}", folder.string(), failed.message());
    return fail(ErrorCode::kNotFound,
                "no eBPF datapath is pinned at {}: this host has none, or another folder (--bpf-folder)",
                folder.string());
  }
  PinnedMaps maps;
  maps.folder_ = events_pin(folder).parent_path();
  for (const auto object : {datapath_object(), host_object(), driver_object()}) {
    TRY(const auto opened, kernel::bpf::Object::open(object, "ocicat"));
    for (const auto& [name, shape] : opened.maps()) maps.shapes_.emplace(name, shape);
  }
  return maps;
}

Result<UniqueFd> PinnedMaps::pin(const std::string& name) const {
  TRY(auto fd, kernel::bpf::open_pin(folder_ / name));
  TRY(const auto shape, kernel::bpf::shape_of(fd.get()));
  if (!(shape == shapes_.at(name))) {
    return fail(ErrorCode::kUnsupported,
                "map {} is pinned by a build with another layout: use the ocicat whose agent runs there",
                (folder_ / name).string());
  }
  return fd;
}

Result<kernel::bpf::MappedArray> PinnedMaps::array(const std::string& name) const {
  TRY(const auto fd, pin(name));
  return kernel::bpf::MappedArray::of(fd);
}

Result<std::unique_ptr<kernel::bpf::ElementMap>> PinnedMaps::elements(const std::string& name) const {
  TRY(auto fd, pin(name));
  TRY(auto map, kernel::bpf::KernelMap::of(std::move(fd)));
  return map;
}

Result<std::vector<std::uint64_t>> PinnedMaps::counters() const {
  TRY(const auto fd, pin("counters"));
  return kernel::bpf::sums_of(fd.get());
}

const std::array<CounterWords, bpf::COUNTERS_MAX> kCounterWords = [] {
  std::array<CounterWords, bpf::COUNTERS_MAX> words;
  words[bpf::COUNT_FORWARDED] = {"forwarded", "packets of known connections, or let through by a judgement"};
  words[bpf::COUNT_JUDGED] = {"judged", "judgements of new connections"};
  words[bpf::COUNT_REJUDGED] = {"rejudged", "judgements of known connections, after a change"};
  words[bpf::COUNT_REDIRECTED] = {"redirected", "packets, of those forwarded, past the rest of the stack"};
  words[bpf::COUNT_RETRIED] = {"retried", "judgements begun anew, as policy changed meanwhile"};
  words[bpf::DROP_MALFORMED] = {"dropped: malformed", "headers are cut short or contradict themselves"};
  words[bpf::DROP_NOT_IP] = {"dropped: not-ip", "neither IP nor ARP"};
  words[bpf::DROP_SPOOFED] = {"dropped: spoofed", "source is not an address of the workload"};
  words[bpf::DROP_NOT_OURS] = {"dropped: not-ours", "destination is not an address of the workload"};
  words[bpf::DROP_POLICY] = {"dropped: policy", "policy refuses the connection"};
  words[bpf::DROP_REVOKED] = {"dropped: revoked", "policy refuses by now what it let through before"};
  words[bpf::DROP_INVALID] = {"dropped: invalid", "belongs to no connection and cannot begin one"};
  words[bpf::DROP_FRAGMENT] = {"dropped: fragment", "its first fragment has not been let through"};
  words[bpf::DROP_TO_HOST] = {"dropped: to-host", "defaultEndpointToHostAction"};
  words[bpf::DROP_NO_MEMORY] = {"dropped: no-room", "the connection could not be noted"};
  words[bpf::DROP_CHANGING] = {"dropped: changing", "policy changed faster than it could be judged"};
  words[bpf::COUNT_EVENTS_FULL] = {"events lost: full", "nobody read them, or not fast enough"};
  words[bpf::COUNT_EVENTS_SHARE] = {"events lost: share", "of an interface that had its share"};
  words[bpf::COUNT_ANSWERED] = {"answered", "packets, of those dropped, that a reset or an error answered"};
  words[bpf::COUNT_LOGGED] = {"logged", "packets that Log rules want told, and that begin no connection"};
  return words;
}();

}  // namespace ocicat::dataplane::ebpf
