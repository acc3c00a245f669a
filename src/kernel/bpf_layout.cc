#include "kernel/bpf_layout.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include <memory>

namespace ocicat::kernel::bpf {
namespace {

struct FreeTypes {
  void operator()(btf* types) const { ::btf__free(types); }
};

void add_members(const btf* types, __u32 id, const std::string& name, std::size_t offset, Layout& layout) {
  const auto resolved = ::btf__resolve_type(types, id);
  if (resolved < 0) return;
  const auto* type = ::btf__type_by_id(types, static_cast<__u32>(resolved));
  const auto size = ::btf__resolve_size(types, static_cast<__u32>(resolved));
  if (type == nullptr || size < 0) return;
  if (::btf_is_composite(type)) {
    for (__u32 i = 0; i < ::btf_vlen(type); ++i) {
      if (::btf_member_bitfield_size(type, i) != 0) continue;
      const auto& member = ::btf_members(type)[i];
      const char* own = ::btf__name_by_offset(types, member.name_off);
      if (own == nullptr) continue;
      add_members(types, member.type, name.empty() ? std::string(own) : name + "." + own,
                  offset + ::btf_member_bit_offset(type, i) / 8, layout);
    }
    return;
  }
  if (::btf_is_array(type)) {
    const auto* array = ::btf_array(type);
    const auto element = ::btf__resolve_type(types, array->type);
    const auto* element_type = element < 0 ? nullptr : ::btf__type_by_id(types, static_cast<__u32>(element));
    if (element_type != nullptr && ::btf_is_composite(element_type)) {
      for (__u32 i = 0; i < array->nelems; ++i)
        add_members(types, array->type, name + "." + std::to_string(i), offset + i * element_type->size,
                    layout);
      return;
    }
  }
  layout.emplace(name, Member{offset, static_cast<std::size_t>(size)});
}

}  // namespace

Result<std::optional<ElementLayout>> layout_of(int map) {
  bpf_map_info info{};
  __u32 length = sizeof info;
  if (const int error = ::bpf_obj_get_info_by_fd(map, &info, &length); error != 0)
    return fail_errno("look at a map", -error);
  if (info.btf_id == 0 || info.btf_value_type_id == 0) return std::nullopt;
  const std::unique_ptr<btf, FreeTypes> types(::btf__load_from_kernel_by_id(info.btf_id));
  if (!types) return fail_errno("read the types of a map", errno);
  ElementLayout layout;
  add_members(types.get(), info.btf_key_type_id, "", 0, layout.key);
  add_members(types.get(), info.btf_value_type_id, "", 0, layout.value);
  return layout;
}

}  // namespace ocicat::kernel::bpf
