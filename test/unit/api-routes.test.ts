import { describe, expect, it } from 'vitest';
import { RouteIndex, routeOf, targetOf } from '../../services/api/routes';

const facts = { auth: 'public', http: { summary: '' } } as const;
const route = (target: string) => routeOf(target, facts);

describe('the index of routes', () => {
  const index = new RouteIndex(
    [
      'GET /users',
      'POST /users/',
      'GET /users/me',
      'GET /users/:id',
      'PATCH /users/:id',
      'POST /users/:id/teams/:teamId',
      'POST /users/:id/teams/all',
    ].map(route),
  );

  it.each([
    ['/users', ['GET', 'POST'], {}],
    ['/users/me', ['GET'], {}],
    ['/users/7', ['GET', 'PATCH'], { id: '7' }],
    ['/users/a%20b', ['GET', 'PATCH'], { id: 'a b' }],
    ['/users/7/teams/9', ['POST'], { id: '7', teamId: '9' }],
    ['/users/7/teams/all', ['POST'], { id: '7' }],
  ])('finds %s', (path, methods, params) => {
    const found = index.find(path);
    expect([...(found?.methods.keys() ?? [])]).toEqual(methods);
    expect(found?.params).toEqual(params);
  });

  it.each(['/', '/user', '/users/', '/users//', '/users/7/teams', '/users//teams/9', '/users/%ff', '/users/%', '/users/7/8', ''])(
    'finds nothing at "%s"',
    path => {
      expect(index.find(path)).toBeUndefined();
      expect(index.allowed(path)).toBeUndefined();
    },
  );

  it('says what is allowed', () => {
    expect(index.allowed('/users')).toBe('GET, POST, HEAD, OPTIONS');
    expect(index.allowed('/users/7/teams/all')).toBe('POST, OPTIONS');
  });

  it('refuses two answers to one question', () => {
    expect(() => new RouteIndex([route('GET /a/:id'), route('GET /a/:id')])).toThrow('Two actions answer GET /a/:id');
    expect(() => new RouteIndex([route('GET /a'), route('GET /a')])).toThrow('Two actions answer GET /a');
  });

  it.each(['get /a', 'GET', 'GET a', 'GET /:id', '/a'])('refuses "%s"', target => {
    expect(() => route(target)).toThrow('is no route');
  });
});

describe('the target of an action', () => {
  it('stands below its service, unless it says the whole path', () => {
    expect(targetOf('users', 'POST /:id/approve')).toBe('POST /users/:id/approve');
    expect(targetOf('auth', { method: 'GET', fullPath: '/.well-known/jwks.json' })).toBe('GET /.well-known/jwks.json');
  });
});
