-- A domain's database and the role that owns it. Nobody else may open it. Extensions (unaccent, pg_trgm, btree_gist) are
-- trusted ones: their owner's migrations make them.
create role :"role" login password :'password' nosuperuser nocreatedb nocreaterole;
create database :"role" owner :"role";
revoke all on database :"role" from public;
