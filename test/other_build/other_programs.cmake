# Programs of another build, called by CMakeLists.txt: they count in a map of their own as well, and so each of them is
# another program.
file(COPY ${BPF}/ DESTINATION ${TO})
file(READ ${BPF}/lib/counters.h text)
function(change before after)
  string(FIND "${text}" "${before}" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "bpf/lib/counters.h has no '${before}' any more: change test/other_build/other_programs.cmake")
  endif()
  string(REPLACE "${before}" "${after}" text "${text}")
  set(text "${text}" PARENT_SCOPE)
endfunction()
change("/* What there is to tell of the packet at hand"
  "struct {\n  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);\n  __uint(max_entries, COUNTERS_MAX);\n  __type(key, __u32);\n  __type(value, __u64);\n} other_counters SEC(\".maps\");\n\n/* What there is to tell of the packet at hand")
change("  if (counter) *counter += more;\n"
  "  if (counter) *counter += more;\n  counter = bpf_map_lookup_elem(&other_counters, &what);\n  if (counter) *counter += more;\n")
file(WRITE ${TO}/lib/counters.h "${text}")
