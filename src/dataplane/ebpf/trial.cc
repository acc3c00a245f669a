#include "dataplane/ebpf/trial.h"

#include "dataplane/ebpf/objects.h"
#include "dataplane/ebpf/program_places.h"
#include "kernel/network_namespace.h"

namespace ocicat::dataplane::ebpf {
namespace {

Result<kernel::bpf::Object> loaded(std::span<const std::uint8_t> file) {
  TRY(auto object, kernel::bpf::Object::open(file, "ocicat_trial"));
  object.shrink_maps();
  TRY_VOID(object.load());
  return object;
}

// Filters are tried in a network namespace of their own.
Result<void> try_filters(const kernel::bpf::Object& object) {
  constexpr int kLoopback = 1;
  TRY(const auto program, object.program("from_workload"));
  TRY(const auto nowhere, kernel::NetworkNamespace::create());
  Result<void> done;
  nowhere.run([&] {
    auto places = FilterPlaces::open();
    done = places ? (*places)->put({kLoopback, kernel::bpf::Hook::kIngress}, program.get())
                  : std::unexpected(places.error());
  });
  return done;
}

}  // namespace

Result<void> try_programs(const std::filesystem::path& folder, const kernel::bpf::Abilities& can) {
  if (!can.types) return fail(ErrorCode::kUnsupported, "it does not tell of its types (BTF)");
  if (is_kept(folder)) return {};
  TRY(const auto datapath, loaded(datapath_object()));
  if (can.netfilter) {
    TRY_VOID(loaded(host_object()));
    TRY_VOID(loaded(driver_object()));
  }
  return can.tcx ? Result<void>() : try_filters(datapath);
}

}  // namespace ocicat::dataplane::ebpf
