# cmake -DOUTPUT=file.cc -DTABLES="a.txt;b.txt" -P embed.cmake
#
# Writes the texts of TABLES, one after the other, as the array that schema.cc reads.
set(content "")
foreach(table IN LISTS TABLES)
  file(READ ${table} text)
  string(APPEND content "R\"TABLE(${text})TABLE\"\n")
endforeach()
file(WRITE ${OUTPUT}
"// Written by the build from src/resources/schema/*.fields.txt.
namespace ocicat::schema {
extern const char kTables[];
const char kTables[] =
${content};
}  // namespace ocicat::schema
")
